"""A long job outlives its credentials: both the filesystem and the table's log get the ones that are valid now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider

from tests.pipelines.conftest import make_trips, trip_spec
from tests.servers.roles import with_role
from tierlake.connector import LakeFileSystem
from tierlake.connector.errors import LakeError
from tierlake.pipelines import Dataset


class Sessions:
    """A program that AWS's configuration names hands out a session's credentials, which end within a minute."""

    def __init__(self, server, folder, monkeypatch):
        self._server, self._folder, self._user = server, folder, None
        config = folder / "config"
        config.write_text(f"[default]\ncredential_process = cat {folder / 'current.json'}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        self.rotate()

    def rotate(self):
        """Another session; the one before is void."""
        before, user = self._user, with_role(self._server, "operator", self._folder).user
        sts = boto3.client(
            "sts",
            endpoint_url=self._server.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=user[0],
            aws_secret_access_key=user[1],
        )
        given = sts.assume_role(RoleArn="arn:xxx:xxx:xxx:xxxx", RoleSessionName="any", DurationSeconds=900)[
            "Credentials"
        ]
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        document = {"Version": 1, "Expiration": soon, **{name: given[name] for name in names}}
        (self._folder / "current.json").write_text(json.dumps(document))
        self._user = user
        if before:
            place = urlsplit(self._server.endpoint_url).netloc
            root = StaticProvider(self._server.key, self._server.secret)
            MinioAdmin(endpoint=place, credentials=root, secure=False).user_disable(before[0])


@pytest.fixture
def sessions(minio, tmp_path, monkeypatch):
    return Sessions(minio, tmp_path, monkeypatch)


def test_a_dataset_outlives_a_session(minio, sessions):
    bucket = minio.make_bucket()
    fs = LakeFileSystem(endpoint_url=minio.endpoint_url, profile="minio", skip_instance_cache=True)
    trips = Dataset.create(trip_spec(bucket), fs=fs)
    trips.ingest(make_trips(2))
    fs.pipe_file(f"{bucket}/x", b"0123456789")
    frozen, scan = fs.delta_options(), trips.scan()
    with fs.open(f"{bucket}/x", "rb", cache_type="none") as file:
        assert file.read(5) == b"01234"
        sessions.rotate()
        assert file.read(5) == b"56789"
    assert scan.to_table().num_rows == 20
    trips.ingest(make_trips(3))
    assert trips.plan_expiry(as_of="2014-12-31").apply().failed == {}
    trips.undo_expiry("date=2013-01-01")
    assert trips.read().num_rows > 0
    assert trips.verify().ok
    assert fs.delta_options()["aws_session_token"] != frozen["aws_session_token"]
    stale = LakeFileSystem(
        endpoint_url=minio.endpoint_url,
        profile="minio",
        key=frozen["aws_access_key_id"],
        secret=frozen["aws_secret_access_key"],
        token=frozen["aws_session_token"],
        skip_instance_cache=True,
    )
    with pytest.raises(LakeError):  # the session before is void indeed
        stale.cat_file(f"{bucket}/x")
    minio.drop_bucket(bucket)
