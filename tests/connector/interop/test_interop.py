"""One configuration, many libraries: each reads and writes the same store, encrypted as the policy says."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tierlake.connector import LakeFileSystem, SseC, SseKms
from tierlake.connector.errors import BadCredentials, UnsupportedByServer

pytestmark = pytest.mark.each_value

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = pa.table({"n": [1, 2, 3], "s": ["a", "b", None]})


@pytest.fixture
def path(fs, bucket):
    pq.write_table(ROWS, f"{bucket}/a/x.parquet", filesystem=fs)
    return f"{bucket}/a/x.parquet"


def encryption(server, bucket, key):
    return server.admin.head_object(Bucket=bucket, Key=key).get("ServerSideEncryption")


def test_arrow(fs, path):
    arrow = fs.arrow_filesystem()
    assert pq.read_table(path, filesystem=arrow).equals(ROWS)
    assert pickle.loads(pickle.dumps(arrow)).get_file_info(path).size > 0  # noqa: S301 -- our own bytes


def test_arrow_writes_by_the_policy_through_this_filesystem(fs, server, bucket):
    pq.write_table(ROWS, f"{bucket}/x", filesystem=fs)
    assert encryption(server, bucket, "x") == "AES256"


def test_obstore(fs, server, bucket, path):
    store = fs.obstore(bucket)
    assert bytes(store.get("a/x.parquet").bytes())[:4] == b"PAR1"
    store.put("b/y", b"bytes")
    assert encryption(server, bucket, "b/y") == "AES256"
    fs.obstore(bucket, prefix="b").put("z", b"bytes" * 2_000_000, use_multipart=True)
    assert encryption(server, bucket, "b/z") == "AES256"


def test_polars(fs, server, bucket, path):
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(f"s3://{path}", storage_options=fs.polars_options()).filter(polars.col("n") > 1)
    assert frame.collect().height == 2
    polars.DataFrame({"n": [1]}).write_parquet(f"s3://{bucket}/b/y.parquet", storage_options=fs.polars_options())
    assert encryption(server, bucket, "b/y.parquet") == "AES256"


def test_delta(fs, server, bucket):
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(f"s3://{bucket}/t", ROWS, storage_options=fs.delta_options())
    assert deltalake.DeltaTable(f"s3://{bucket}/t", storage_options=fs.delta_options()).version() == 0
    assert {head.get("ServerSideEncryption") for head in server.heads(bucket, "t/").values()} == {"AES256"}


@pytest.mark.slow
def test_duckdb_with_its_own_client(fs, path):
    duckdb = pytest.importorskip("duckdb")
    package = pytest.importorskip("duckdb_extension_httpfs", reason="DuckDB's httpfs is not installed")
    (extension,) = Path(package.__file__).parent.rglob("httpfs.duckdb_extension")
    with duckdb.connect() as connection:
        connection.load_extension(str(extension))
        connection.execute(fs.duckdb_secret('odd "name"'))
        assert connection.sql(f"select sum(n) from 's3://{path}'").fetchall() == [(6,)]  # noqa: S608 -- our own path


def test_duckdb_through_this_filesystem(fs, server, bucket, path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        assert connection.sql(f"select sum(n) from 'lake://{path}'").fetchall() == [(6,)]  # noqa: S608 -- likewise
        connection.sql(f"copy (select 1 as n) to 'lake://{bucket}/b/y.parquet' (format parquet)")
    assert encryption(server, bucket, "b/y.parquet") == "AES256"


def test_boto3(make_fs, server, bucket, path, tmp_path, other_class):
    fs = make_fs(storage_class=other_class, rules=[{"match": f"{bucket}/b/tagged", "tags": {"team": "a b"}}])
    client = fs.boto3_client()
    assert client.get_object(Bucket=bucket, Key="a/x.parquet")["Body"].read()[:4] == b"PAR1"
    client.put_object(Bucket=bucket, Key="b/y", Body=b"bytes")
    client.copy_object(Bucket=bucket, Key="b/tagged", CopySource={"Bucket": bucket, "Key": "b/y"})
    (tmp_path / "big").write_bytes(b"x" * 9_000_000)
    client.upload_file(str(tmp_path / "big"), bucket, "b/big")
    heads = server.heads(bucket, "b/")
    assert {key: (h["ServerSideEncryption"], h["StorageClass"]) for key, h in heads.items()} == dict.fromkeys(
        ("b/big", "b/tagged", "b/y"), ("AES256", other_class)
    )
    tags = server.admin.get_object_tagging(Bucket=bucket, Key="b/tagged")["TagSet"]
    assert tags == [{"Key": "team", "Value": "a b"}]


def test_boto3_with_a_customers_key(seaweedfs):
    from tierlake.connector import LakeFileSystem

    fs = LakeFileSystem(**seaweedfs.storage_options, encryption=SseC(b"k" * 32), skip_instance_cache=True)
    bucket = seaweedfs.make_bucket()
    try:
        client = fs.boto3_client()
        client.put_object(Bucket=bucket, Key="x", Body=b"bytes")
        client.copy_object(Bucket=bucket, Key="y", CopySource={"Bucket": bucket, "Key": "x"})
        assert client.get_object(Bucket=bucket, Key="y")["Body"].read() == b"bytes" == fs.cat_file(f"{bucket}/y")
    finally:
        seaweedfs.drop_bucket(bucket)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # Dask's own use of pandas
def test_dask(fs, server, bucket, path, monkeypatch):
    dataframe = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
    options = fs.dask_options()
    monkeypatch.setenv("TIERLAKE_ENDPOINT_URL", "http://127.0.0.1:1")  # a worker elsewhere
    frame = dataframe.read_parquet(f"lake://{path}", storage_options=options)
    assert frame["n"].sum().compute(scheduler="threads") == 6
    frame.to_parquet(f"lake://{bucket}/b", storage_options=options, compute_kwargs={"scheduler": "threads"})
    assert {head.get("ServerSideEncryption") for head in server.heads(bucket, "b/").values()} == {"AES256"}


def test_spark(offline, make_offline):
    """Spark needs Java: the names are those of its documentation."""
    prefix = "spark.hadoop.fs.s3a."
    conf = {name.removeprefix(prefix): value for name, value in offline.spark_conf().items()}
    assert conf["endpoint"] == offline.endpoint
    assert conf["path.style.access"] == "true"
    assert conf["connection.ssl.enabled"] == "false"
    assert conf["encryption.algorithm"] == "AES256"
    assert (conf["access.key"], conf["secret.key"]) == ("k", "s")
    kms = make_offline(encryption="sse-kms:alias/lake").spark_conf()
    assert (kms[prefix + "encryption.algorithm"], kms[prefix + "encryption.key"]) == ("SSE-KMS", "alias/lake")
    token = make_offline(token="t").spark_conf()
    assert token[prefix + "aws.credentials.provider"].endswith("TemporaryAWSCredentialsProvider")
    anonymous = make_offline(key=None, secret=None, anon=True).spark_conf()
    assert prefix + "secret.key" not in anonymous


def test_a_statement_quotes_what_it_holds(make_offline):
    fs = make_offline(key="k", secret="it's", encryption=SseKms("alias/o'key"))
    statement = fs.duckdb_secret(scope="s3://b")
    assert "SECRET 'it''s'" in statement
    assert "KMS_KEY_ID 'alias/o''key'" in statement
    assert "SCOPE 's3://b'" in statement


@pytest.mark.slow
def test_no_repr_shows_a_secret(make_offline):
    fs = make_offline(secret="SECRET-one", token="TOKEN-two", encryption=SseC(b"k" * 32))
    shown = [fs.delta_options(), fs.polars_options(), fs.dask_options(), fs.spark_conf(), fs.obstore("bucket")]
    plain = make_offline(secret="SECRET-one", token="TOKEN-two")
    shown += [plain.duckdb_secret(), plain.arrow_filesystem(), plain.boto3_client()]
    text = " ".join(map(repr, shown))
    assert not [secret for secret in ("SECRET-one", "TOKEN-two", "a2tra") if secret in text]
    assert fs.delta_options()["aws_secret_access_key"] == "SECRET-one"


def test_what_a_library_cannot_encrypt_is_said(make_offline):
    fs = make_offline(encryption=SseC(b"k" * 32))
    for ask in (fs.arrow_filesystem, fs.duckdb_secret):
        with pytest.raises(UnsupportedByServer, match="SSE-C"):
            ask()


def test_credentials_of_the_chain(make_offline, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "chain-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "chain-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "chain-token")
    fs = make_offline(key=None, secret=None)
    assert fs.delta_options()["aws_session_token"] == "chain-token"
    assert "'chain-secret'" in fs.duckdb_secret()
    assert fs.dask_options()["token"] == "chain-token"


def test_without_credentials(make_offline):
    fs = make_offline(key=None, secret=None)
    for ask in (fs.duckdb_secret, fs.delta_options, fs.spark_conf, fs.arrow_filesystem, fs.dask_options):
        with pytest.raises(BadCredentials):
            ask()


def test_libraries_are_imported_when_they_are_asked_for():
    script = (
        "import sys, tierlake.connector.filesystem\n"
        "print([n for n in ('boto3', 'pyarrow', 'obstore', 'polars', 'duckdb', 'pandas', 'deltalake', 'dagster') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program that AWS's configuration names: it hands out numbered keys, valid for so many minutes."""
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'program.py'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def hand_out(minutes):
        ends = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
        (tmp_path / "program.py").write_text(
            "import json, pathlib\n"
            f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
            "number = int(runs.read_text() or 0) + 1 if runs.exists() else 1\n"
            "runs.write_text(str(number))\n"
            "key = dict(Version=1, AccessKeyId=f'k{number}', SecretAccessKey='s')\n"
            f"print(json.dumps(key | dict(Expiration='{ends}')))\n"
        )

    return hand_out


@pytest.mark.parametrize(("minutes", "keys"), [(60, 1), (1, 3)], ids=["valid", "ending"])
def test_credentials_are_renewed_when_they_end_and_not_before(program, minutes, keys):
    """botocore renews what ends within ten minutes."""
    program(minutes)
    fs = LakeFileSystem(endpoint_url="http://127.0.0.1:9", profile="minio", skip_instance_cache=True)
    assert len({fs.delta_options()["aws_access_key_id"] for _ in range(3)}) == keys


def test_a_program_that_fails_is_named(program, tmp_path):
    (tmp_path / "program.py").write_text("raise SystemExit('no ticket')")
    fs = LakeFileSystem(endpoint_url="http://127.0.0.1:9", profile="minio", skip_instance_cache=True)
    with pytest.raises(BadCredentials, match="no ticket"):
        fs.delta_options()
