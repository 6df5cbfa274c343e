"""Instances: found by protocol, cached by arguments and environment, pickled, used from threads and coroutines."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

import tierlake.connector
from tierlake.connector import LakeFileSystem, LakeSettings, SseC
from tierlake.connector.errors import InsecureEndpoint, InvalidSetting, UnknownOption

LOCAL = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"}


def test_the_protocol_is_registered():
    assert isinstance(fsspec.filesystem("lake", profile="minio", **LOCAL), LakeFileSystem)


@pytest.mark.parametrize("url", ["lake://b/k/x", "s3://b/k/x", "s3a://b/k/x", "b/k/x", "b/k/x/"])
def test_paths(url):
    assert LakeFileSystem._strip_protocol(url) == "b/k/x"
    assert LakeFileSystem._strip_protocol([url]) == ["b/k/x"]


@pytest.mark.slow
def test_pandas_with_nothing_imported(server, bucket):
    program = f"""
import pandas as pd
pd.DataFrame({{"x": [1, 2]}}).to_parquet("lake://{bucket}/x.parquet")
print(pd.read_parquet("lake://{bucket}/x.parquet")["x"].sum())
"""
    environ = {"PATH": "/usr/bin:/bin", **server.environ()}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
    assert server.admin.head_object(Bucket=bucket, Key="x.parquet")["ServerSideEncryption"] == "AES256"


def test_importing_is_light():
    program = "import sys, tierlake.connector; print([m for m in sys.modules if m in sys.argv])"
    heavy = ["pandas", "pyarrow", "deltalake", "dagster", "polars", "obstore", "boto3", "minio"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_table_of_contents():
    assert sorted(tierlake.connector.__all__) == tierlake.connector.__all__
    assert all(getattr(tierlake.connector, name) for name in tierlake.connector.__all__)


def test_in_place_of_s3fs_it_answers_to_its_names():
    """Libraries look for `s3` there (universal_pathlib's suite does)."""
    assert LakeFileSystem.protocol[0] == "lake"
    assert {"s3", "s3a"} <= set(LakeFileSystem.protocol)
    assert LakeFileSystem(**LOCAL).unstrip_protocol("bucket/key") == "lake://bucket/key"


def test_equal_arguments_share_an_instance():
    assert LakeFileSystem(**LOCAL) is LakeFileSystem(**LOCAL)
    assert LakeFileSystem(**LOCAL) is not LakeFileSystem(**LOCAL, storage_class="STANDARD_IA")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERLAKE_ENDPOINT_URL", "http://127.0.0.1:10"),
        ("TIERLAKE_STORAGE_CLASS", "STANDARD_IA"),
        ("AWS_ACCESS_KEY_ID", "another"),
        ("AWS_REGION", "eu-west-1"),
    ],
)
def test_another_environment_is_another_instance(monkeypatch, name, value):
    before = LakeFileSystem()
    monkeypatch.setenv(name, value)
    after = LakeFileSystem()
    assert after is not before
    assert LakeFileSystem() is after
    monkeypatch.delenv(name)
    assert LakeFileSystem() is before


def test_secrets_tell_instances_apart():
    one = LakeFileSystem(settings=LakeSettings(key="k", secret="one"))
    two = LakeFileSystem(settings=LakeSettings(key="k", secret="two"))
    assert one is not two
    assert one is LakeFileSystem(settings=LakeSettings(key="k", secret="one"))
    assert LakeFileSystem(encryption=SseC(b"1" * 32)) is not LakeFileSystem(encryption=SseC(b"2" * 32))


def test_a_pickle_carries_explicit_secrets():
    fs = LakeFileSystem(**LOCAL, encryption=SseC(b"1" * 32), view_freshness=5)
    copy = pickle.loads(pickle.dumps(fs))  # noqa: S301 -- our own bytes
    assert copy.settings == fs.settings
    assert copy.policy == fs.policy


def test_a_pickle_carries_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("TIERLAKE_KEY", "k")
    monkeypatch.setenv("TIERLAKE_SECRET", "top-secret-value")
    fs = LakeFileSystem(endpoint_url=LOCAL["endpoint_url"])
    assert fs.settings.secret_of("secret") == "top-secret-value"
    assert b"top-secret-value" not in pickle.dumps(fs)
    assert b"top-secret-value" not in pickle.dumps(fs.for_table("b/t"))


def test_a_tables_filesystem_travels(server, bucket, fs):
    writer = pickle.loads(pickle.dumps(fs.for_table(f"{bucket}/t")))  # noqa: S301 -- our own bytes
    assert (writer.table_root, writer.raw) == (f"{bucket}/t", True)
    writer.pipe_file(f"{bucket}/t/x", b"1")


def test_a_tables_filesystem_keeps_the_settings_it_was_made_from(monkeypatch):
    monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", "http://127.0.0.1:10")
    fs = LakeFileSystem(key="k", secret="s")
    monkeypatch.delenv("TIERLAKE_ENDPOINT_URL")
    assert fs.for_table("b/t").endpoint == "http://127.0.0.1:10"


def test_several_threads(fs, bucket):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: fs.pipe_file(f"{bucket}/{n}", str(n).encode()), range(40)))
        read = list(pool.map(lambda n: fs.cat_file(f"{bucket}/{n}"), range(40)))
    assert read == [str(n).encode() for n in range(40)]


def test_coroutines(server, bucket):
    async def use():
        fs = LakeFileSystem(**server.storage_options, asynchronous=True, skip_instance_cache=True)
        session = await fs.set_session()
        try:
            await asyncio.gather(*(fs._pipe_file(f"{bucket}/{n}", b"1") for n in range(5)))
            etag = await fs._put_if(f"{bucket}/x", b"1", if_none_match=True)
            assert (await fs._head_object(f"{bucket}/x"))["ETag"] == f'"{etag}"'
            assert (await fs._profile()).name == server.profile
            return await fs._find(bucket)
        finally:
            await session.close()

    assert len(asyncio.run(use())) == 6


def _write_in_child(fs, path):
    fs.pipe_file(path, b"from a child")


def test_a_spawned_process(fs, bucket):
    child = multiprocessing.get_context("spawn").Process(target=_write_in_child, args=(fs, f"{bucket}/x"))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert fs.cat_file(f"{bucket}/x") == b"from a child"


def test_a_mistyped_argument():
    with pytest.raises(UnknownOption, match="Did you mean 'endpoint_url'"):
        LakeFileSystem(endpoint="http://127.0.0.1:9")
    with pytest.raises(UnknownOption, match="Did you mean 'storage_class'"):
        fsspec.filesystem("lake", storage_clas="STANDARD_IA")


def test_plain_http_over_a_network():
    with pytest.raises(InsecureEndpoint, match="allow_http"):
        LakeFileSystem(endpoint_url="http://minio.example:9000", key="k", secret="s")
    with pytest.raises(InsecureEndpoint):
        LakeFileSystem(use_ssl=False)
    with pytest.raises(InsecureEndpoint):
        LakeFileSystem(client_kwargs={"endpoint_url": "http://minio.example:9000"})
    assert LakeFileSystem(endpoint_url="http://minio.example:9000", allow_http=True)
    assert LakeFileSystem(endpoint_url="https://minio.example:9000")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9", "s3.localhost"])
def test_plain_http_on_this_machine(host):
    assert LakeFileSystem(endpoint_url=f"http://{host}:9000")


@pytest.mark.parametrize("url", ["minio:9000", "ftp://minio", "http://", "http://user:pw@127.0.0.1:9000"])
def test_what_is_no_endpoint(url):
    with pytest.raises(InvalidSetting) as caught:
        LakeFileSystem(endpoint_url=url)
    assert "pw" not in str(caught.value)


def test_a_profile_of_the_aws_files(tmp_path, monkeypatch):
    """s3fs's users pass an AWS profile by the name `profile`."""
    config = tmp_path / "config"
    config.write_text("[profile research]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    fs = LakeFileSystem(profile="research", skip_instance_cache=True)
    assert fs.profile.name == "aws"
    assert fs.kwargs == {"profile": "research"}
    both = LakeFileSystem(profile="minio", aws_profile="research", endpoint_url=LOCAL["endpoint_url"])
    assert both.profile.name == "minio"
    with pytest.raises(InvalidSetting, match="Did you mean 'minio'"):
        LakeFileSystem(profile="minoi")
