"""Credentials that the AWS chain cannot give: one line, what to type, and no traceback of a library on the terminal."""

import logging
import os

import pytest
from botocore.exceptions import NoCredentialsError

from tests.readable import assert_readable
from tierlake.connector import LakeFileSystem
from tierlake.connector.client.aws_chain import no_credentials
from tierlake.connector.errors import BadCredentials

HERE = {"endpoint_url": "http://127.0.0.1:1", "profile": "minio", "skip_instance_cache": True}
SSO = "sso_start_url=https://x.awsapps.com/start\nsso_region=us-east-1\nsso_account_id=1\nsso_role_name=r\n"
CHAINS = {
    "nothing": ("", "", "Unable to locate credentials", "Set TIERLAKE_KEY and TIERLAKE_SECRET"),
    "no such profile": ("[profile other]\n", "", "profile (mine) could not be found", "aws configure list-profiles"),
    "broken file": ("[profile mine\n", "", "Unable to parse config file", "~/.aws/config"),
    "half a key": ("[profile mine]\n", "[mine]\naws_access_key_id=x\n", "missing: aws_secret_access_key", "Give both"),
    "no source": ("[profile mine]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=gone\n", "", "gone", "~/.aws/config"),
    "SSO": (f"[profile mine]\n{SSO}", "", "does not exist", "`aws sso login`"),
    "failing program": ("[profile mine]\ncredential_process=false\n", "", "custom-process", "`credential_process`"),
    "no program": ("[profile mine]\ncredential_process=/no/such\n", "", "cannot run /no/such", "`credential_process`"),
}


@pytest.mark.parametrize("engine", ["native", "s3fs"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_what_the_chain_lacks(tmp_path, monkeypatch, caplog, chain, engine):
    config, credentials, says, hint = chain
    (tmp_path / "config").write_text(config)
    (tmp_path / "credentials").write_text(credentials)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("HOME", str(tmp_path))
    if config:
        monkeypatch.setenv("AWS_PROFILE", "mine")
    fs = LakeFileSystem(**HERE, engine=engine, max_retries=0)
    for call in (lambda: fs.cat_file("bucket/x"), fs.delta_options):
        with caplog.at_level(logging.WARNING), pytest.raises(BadCredentials) as raised:
            call()
        assert_readable(raised.value)
        assert says in raised.value.message
        assert hint in raised.value.hint
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, variable):
    path = tmp_path / "config"
    path.write_text("[profile mine]\n")
    path.chmod(0)
    if os.geteuid() == 0:  # who may read everything
        monkeypatch.setattr("os.access", lambda one, mode: mode == os.F_OK or one != str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, str(path))
    for error in (PermissionError(13, "Permission denied", str(path)), NoCredentialsError()):
        told = no_credentials(error)
        assert_readable(told)
        assert f"cannot read {path}" in told.message
        assert variable in told.hint


def test_an_error_without_a_file_blames_no_program(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    told = no_credentials(OSError("boom"))
    assert told.message == "No usable credentials: boom"
    assert "credential_process" not in told.hint
