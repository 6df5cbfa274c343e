"""No secret is in a file of the repository: detect-secrets, with a rule of ours for presigned URLs."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from detect_secrets.core.scan import get_plugins, scan_file
from detect_secrets.settings import transient_settings

from tests import ROOT

MADE_UP = "made up, to be refused or hidden in the test"
ALLOWED = {
    "docs/dagster.md": "the words USER and PASSWORD",
    "tests/connector/observe/test_metrics.py": MADE_UP,
    "tests/connector/observe/test_tally.py": MADE_UP,
    "tests/connector/observe/test_trace_file.py": MADE_UP,
    "tests/connector/observe/test_verbs.py": MADE_UP,
    "tests/connector/test_instances.py": MADE_UP,
    "tests/connector/test_secrets.py": MADE_UP,
    "tests/dagster_project/executors/test_executors.py": MADE_UP,
    "tests/dagster_project/resources/test_lake.py": MADE_UP,
    "tests/dagster_project/resources/test_secret_fields.py": MADE_UP,
    "tests/pipelines/cli/test_app.py": MADE_UP,
    "tests/pipelines/cli/test_stats.py": MADE_UP,
    "tests/pipelines/survey/test_survey.py": MADE_UP,
    "tests/pipelines/model/test_spec.py": MADE_UP,
}
"""Files with user names and passwords in URLs, and why. Nothing else is allowed in them either."""
BASIC_AUTH = "Basic Auth Credentials"
BINARY = {".gz", ".parquet", ".png", ".svg"}
# without its guesses by entropy and by names of variables: they find digests, and tests of secrets, by the hundred
SERVICES = (
    *("AWSKey", "Artifactory", "AzureStorageKey", "BasicAuth", "Cloudant", "DiscordBotToken", "GitHubToken"),
    *("GitLabToken", "IbmCloudIam", "IbmCosHmac", "JwtToken", "Mailchimp", "Npm", "OpenAI", "PrivateKey", "PypiToken"),
    *("SendGrid", "Slack", "Softlayer", "SquareOAuth", "Stripe", "TelegramBotToken", "TwilioKey"),
)
RULES = [
    *({"name": f"{name}Detector"} for name in SERVICES),
    {"name": "PresignedUrlDetector", "path": f"file://{ROOT / 'tools' / 'presigned_urls.py'}"},
]


def secrets_in(paths: list[Path]) -> Counter[tuple[str, str]]:
    """The kinds of secrets by file; a file that no rule matches as a whole is not looked at line by line."""
    found: Counter[tuple[str, str]] = Counter()
    with transient_settings({"plugins_used": RULES}):
        patterns = [
            re.compile(one.pattern, one.flags | re.MULTILINE)
            for plugin in get_plugins()
            for one in getattr(plugin, "denylist", ())
        ]
        for path in paths:
            text = path.read_text(encoding="utf-8", errors="replace")
            if any(pattern.search(text) for pattern in patterns):
                found.update((path.as_posix(), secret.type) for secret in scan_file(str(path)))
    return found


def tracked() -> list[Path]:
    """The files of the commit; of a tree without git, all of them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0") if listed.returncode == 0 else [str(path) for path in ROOT.rglob("*")]
    paths = [ROOT / name for name in names if name and not name.startswith(".venv")]
    return [path for path in paths if path.is_file() and not path.is_symlink() and path.suffix not in BINARY]


def test_no_file_holds_a_secret():
    found = {(Path(path).relative_to(ROOT).as_posix(), kind) for path, kind in secrets_in(tracked())}
    assert not {one for one in found if one[1] != BASIC_AUTH or one[0] not in ALLOWED}
    assert {path for path, _ in found} == set(ALLOWED), "an exception that is not needed any more"


@pytest.mark.parametrize(
    "secret",
    [
        "key = 'AKIA" + "QWERTYUIOPASDFGH'",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-" + "Signature=" + "0a" * 32,
        "ghp_" + "a1" * 18,
    ],
    ids=["key", "private key", "presigned URL", "token"],
)
def test_a_planted_secret_is_found(tmp_path, secret):
    file = tmp_path / "notes.md"
    file.write_text(f"harmless\n{secret}\n")
    assert secrets_in([file])
