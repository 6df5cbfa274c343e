"""One large object as a whole: into memory (`cat`), and into a local file (`get`)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients, data
from benchmarks.model import LOOPBACK, Contender, Target, Work

if TYPE_CHECKING:
    from benchmarks.model import Act, Answer, Options, Place

KEY = "whole"
BOUND = 256 << 20


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """Put the object there."""
    return put(place, data.lineitem(options), options.scratch)


def put(place: Place, file: Path, scratch: Path) -> dict[str, Any]:
    """Put a file there; copies of it go into the scratch folder."""
    clients.boto3(place).upload_file(str(file), place.bucket, KEY)
    return {
        "path": f"{place.bucket}/{KEY}",
        "scratch": str(scratch),
        "bound": BOUND,
        "megabytes": round(file.stat().st_size / 1e6),
        "answer": answers.digest(file),
    }


def digest_of_copy(file: Path) -> Answer:
    """The digest of a local copy, which goes away."""
    try:
        return answers.digest(file)
    finally:
        file.unlink()


def cat_tierlake(place: Place) -> Act:
    """`cat_file`."""
    return functools.partial(_cat, clients.lake(place), place.facts["path"])


def cat_s3fs(place: Place) -> Act:
    """`cat_file`."""
    return functools.partial(_cat, clients.s3fs(place), place.facts["path"])


def cat_obstore(place: Place) -> Act:
    """`cat_file` of its fsspec filesystem."""
    return functools.partial(_cat, clients.obstore_fsspec(place), place.facts["path"])


def _cat(filesystem: Any, path: str, _: str) -> object:
    return filesystem.cat_file(path)


def cat_pyarrow(place: Place) -> Act:
    """An input file, read to its end."""
    filesystem = clients.arrow(place)

    def act(_: str) -> object:
        with filesystem.open_input_file(place.facts["path"]) as file:
            return file.read_buffer()

    return act


def cat_boto3(place: Place) -> Act:
    """`get_object`."""
    client = clients.boto3(place)
    return lambda _: client.get_object(Bucket=place.bucket, Key=KEY)["Body"].read()


def cat_s5cmd(place: Place) -> Act:
    """`s5cmd cat` into a pipe."""
    return lambda _: clients.s5cmd(place, "cat", f"s3://{place.facts['path']}")


def get_tierlake(place: Place) -> Act:
    """`get_file`."""
    return functools.partial(_get, clients.lake(place), place)


def get_s3fs(place: Place) -> Act:
    """`get_file`."""
    return functools.partial(_get, clients.s3fs(place), place)


def get_obstore(place: Place) -> Act:
    """`get_file` of its fsspec filesystem."""
    return functools.partial(_get, clients.obstore_fsspec(place), place)


def _get(filesystem: Any, place: Place, name: str) -> Path:
    local = _local(place, name)
    filesystem.get_file(place.facts["path"], str(local))
    return local


def get_pyarrow(place: Place) -> Act:
    """`copy_files` to the local filesystem."""
    from pyarrow.fs import LocalFileSystem, copy_files

    filesystem = clients.arrow(place)

    def act(name: str) -> Path:
        local = _local(place, name)
        copy_files(
            place.facts["path"], str(local), source_filesystem=filesystem, destination_filesystem=LocalFileSystem()
        )
        return local

    return act


def get_boto3(place: Place) -> Act:
    """`download_file`: ranges by threads."""
    client = clients.boto3(place)

    def act(name: str) -> Path:
        local = _local(place, name)
        client.download_file(place.bucket, KEY, str(local))
        return local

    return act


def get_s5cmd(place: Place) -> Act:
    """`s5cmd cp`."""

    def act(name: str) -> Path:
        local = _local(place, name)
        clients.s5cmd(place, "cp", f"s3://{place.facts['path']}", str(local))
        return local

    return act


def get_awswrangler(place: Place) -> Act:
    """`s3.download`."""
    package, session = clients.awswrangler(place)

    def act(name: str) -> Path:
        local = _local(place, name)
        package.s3.download(f"s3://{place.facts['path']}", str(local), boto3_session=session)
        return local

    return act


def _local(place: Place, name: str) -> Path:
    return Path(place.facts["scratch"]) / name


_TARGETS = (Target(1.1, ("obstore",)), Target(0.5, ("s3fs",)), Target(1, ("bound",), "above"))

CAT = Work(
    "cat",
    "the whole object ({megabytes} MB) into memory",
    prepare,
    (
        Contender("tierlake", cat_tierlake, ("tierlake",)),
        Contender("s3fs", cat_s3fs, ("s3fs",)),
        Contender("obstore", cat_obstore, ("obstore",)),
        Contender("pyarrow", cat_pyarrow, ("pyarrow",)),
        Contender("boto3", cat_boto3, ("boto3",)),
        Contender("s5cmd", cat_s5cmd, ("s5cmd",)),
    ),
    _TARGETS,
    links=(LOOPBACK,),
    answer=answers.digest,
)

GET = Work(
    "get",
    "the whole object ({megabytes} MB) into a local file",
    prepare,
    (
        Contender("tierlake", get_tierlake, ("tierlake",)),
        Contender("s3fs", get_s3fs, ("s3fs",)),
        Contender("obstore", get_obstore, ("obstore",)),
        Contender("pyarrow", get_pyarrow, ("pyarrow",)),
        Contender("boto3", get_boto3, ("boto3",)),
        Contender("s5cmd", get_s5cmd, ("s5cmd",)),
        Contender("awswrangler", get_awswrangler, ("awswrangler",)),
    ),
    _TARGETS,
    links=(LOOPBACK,),
    answer=digest_of_copy,
)
