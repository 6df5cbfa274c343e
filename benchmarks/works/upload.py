"""One large local file into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import answers, clients, data
from benchmarks.model import LOOPBACK, Contender, Target, Work

if TYPE_CHECKING:
    from benchmarks.model import Act, Answer, Options, Place


def prepare(place: Place, options: Options) -> dict[str, Any]:
    """The file stays where it is."""
    del place
    return facts(data.lineitem(options))


def facts(file: Path) -> dict[str, Any]:
    """Of a local file."""
    return {
        "file": str(file),
        "bound": 256 << 20,
        "megabytes": round(file.stat().st_size / 1e6),
        "answer": answers.digest(file),
    }


def written(place: Place, name: str) -> Answer:
    """What the store has under that name."""
    return answers.digest(clients.boto3(place).get_object(Bucket=place.bucket, Key=name)["Body"].read())


def tierlake(place: Place) -> Act:
    """`put_file`."""
    filesystem = clients.lake(place)
    return lambda name: filesystem.put_file(place.facts["file"], f"{place.bucket}/{name}")


def s3fs(place: Place) -> Act:
    """`put_file`."""
    filesystem = clients.s3fs(place)
    return lambda name: filesystem.put_file(place.facts["file"], f"{place.bucket}/{name}")


def obstore(place: Place) -> Act:
    """`obstore.put`, which sends parts at once."""
    import obstore as package

    store = clients.obstore(place)
    return lambda name: package.put(store, name, Path(place.facts["file"]))


def pyarrow(place: Place) -> Act:
    """`copy_files` from the local filesystem."""
    from pyarrow.fs import LocalFileSystem, copy_files

    filesystem, local = clients.arrow(place), LocalFileSystem()
    return lambda name: copy_files(
        place.facts["file"], f"{place.bucket}/{name}", source_filesystem=local, destination_filesystem=filesystem
    )


def boto3(place: Place) -> Act:
    """`upload_file`."""
    client = clients.boto3(place)
    return lambda name: client.upload_file(place.facts["file"], place.bucket, name)


def s5cmd(place: Place) -> Act:
    """`s5cmd cp`."""
    return lambda name: clients.s5cmd(place, "cp", place.facts["file"], f"s3://{place.bucket}/{name}")


def awswrangler(place: Place) -> Act:
    """`s3.upload`."""
    package, session = clients.awswrangler(place)
    return lambda name: package.s3.upload(place.facts["file"], f"s3://{place.bucket}/{name}", boto3_session=session)


WORK = Work(
    "upload",
    "a local file of {megabytes} MB into the store",
    prepare,
    (
        Contender("tierlake", tierlake, ("tierlake",)),
        Contender("s3fs", s3fs, ("s3fs",)),
        Contender("obstore", obstore, ("obstore",)),
        Contender("pyarrow", pyarrow, ("pyarrow",)),
        Contender("boto3", boto3, ("boto3",)),
        Contender("s5cmd", s5cmd, ("s5cmd",)),
        Contender("awswrangler", awswrangler, ("awswrangler",)),
    ),
    (Target(1.05, ("boto3", "s5cmd")), Target(1, ("bound",), "above")),
    links=(LOOPBACK,),
    written=written,
)
