"""Tables that others made: nothing here has been through the code under test."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from tests.pipelines import samples
from tests.servers import Rig
from tierlake.connector.filesystem import LakeFileSystem

DAYS = [date(2013, 1, 1) + timedelta(days=number) for number in range(4)]


def delta_options(server: Rig) -> dict[str, str]:
    return {
        "endpoint_url": server.endpoint_url,
        "access_key_id": server.key,
        "secret_access_key": server.secret,
        "region": "us-east-1",
        "allow_http": "true",
    }


def by_day(each: int = 5, *, kind: pa.DataType | None = None) -> pa.Table:
    """`each` rows a day, without an event time: `day`, `shop`, `v`."""
    days = [day for day in DAYS for _ in range(each)]
    shops = [1 + number % 2 for number in range(len(days))]
    return pa.table(
        {
            "day": pa.array(days, pa.date32()).cast(kind or pa.date32()),
            "shop": pa.array(shops, pa.int32()),
            "v": pa.array(range(len(days)), pa.int64()),
        }
    )


def write_delta(server: Rig, root: str, table: pa.Table, by: list[str], mode: str = "error") -> None:
    write_deltalake(f"s3://{root}", table, partition_by=by, mode=mode, storage_options=delta_options(server))


def parquet(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def put(server: Rig, path: str, data: bytes, **options: str) -> None:
    bucket, _, key = path.partition("/")
    server.admin.put_object(Bucket=bucket, Key=key, Body=data, **options)


def write_hive(server: Rig, root: str, *, files: int = 1, each: int = 5) -> int:
    """`day=…/part-<n>.parquet` for each of the days; the number of rows."""
    for number, day in enumerate(DAYS):
        for file in range(files):
            start = (number * files + file) * each
            rows = pa.table({"v": pa.array(range(start, start + each), pa.int64()), "name": ["x"] * each})
            put(server, f"{root}/day={day}/part-{file}.parquet", parquet(rows))
    return len(DAYS) * files * each


def spark_like(fs: LakeFileSystem, root: str) -> None:
    """Two files in a folder with a space, as Spark names it."""
    first = samples.rows(samples.DAYS[:1]).append_column("city", [["New York"] * 20])
    write_deltalake(f"s3://{root}", first, partition_by=["city"], storage_options=fs.delta_options())
    log = f"{root}/_delta_log/00000000000000000000.json"
    raw = LakeFileSystem(**fs.storage_options, raw=True, skip_instance_cache=True).for_table(root)
    actions = [json.loads(line) for line in raw.cat_file(log).splitlines()]
    (add,) = (action["add"] for action in actions if "add" in action)
    stored = unquote(add["path"])
    data = raw.cat_file(f"{root}/{stored}")
    adds = []
    for name in ("part-00000.parquet", "part-00001.parquet"):
        raw.pipe_file(f"{root}/city=New York/{name}", data)
        adds.append({"add": {**add, "path": quote(f"city=New York/{name}", safe="/="), "size": len(data)}})
    raw.rm_file(f"{root}/{stored}")
    actions = [action for action in actions if "add" not in action] + adds
    raw.pipe_file(log, "\n".join(map(json.dumps, actions)).encode())
