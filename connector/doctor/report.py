"""A live server compared with its profile.

::

    report = diagnose(fs)                 # makes buckets of its own, and removes them
    report = diagnose(fs, "warehouse")    # leaves a prefix of that bucket as it was
    print(report)
    report.agrees
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from fsspec.asyn import sync

from tierlake.connector.doctor.place import Place, code_of
from tierlake.connector.doctor.probes import PROBES
from tierlake.connector.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierlake.connector.client.store import Store
    from tierlake.connector.doctor.probes import Probe
    from tierlake.connector.filesystem import LakeFileSystem
    from tierlake.connector.profiles import Profile

NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Row:
    """One fact.

    Args:
        what: The fact.
        profile: The profile's answer; empty if it has none.
        server: The server's answer; `NOT_TRIED` if the probe needs a bucket of its own.
        agree: Whether the two agree; None if one of them is missing.
    """

    what: str
    profile: str
    server: str
    agree: bool | None


@dataclass(frozen=True)
class Report:
    """The result of all probes.

    Args:
        endpoint: The endpoint.
        profile: The profile's name.
        rows: The facts.
    """

    endpoint: str
    profile: str
    rows: tuple[Row, ...]

    @property
    def disagreements(self) -> tuple[Row, ...]:
        """The rows in which the server does not do what the profile says."""
        return tuple(row for row in self.rows if row.agree is False)

    @property
    def agrees(self) -> bool:
        """Whether the server does all that the profile says."""
        return not self.disagreements

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        what, says, does = (
            max(len(heading), *(len(getattr(row, field)) for row in self.rows))
            for field, heading in (("what", ""), ("profile", "profile"), ("server", "server"))
        )
        yield f"{self.endpoint}, profile {self.profile}"
        yield f"  {'':{what}}  {'profile':{says}}  {'server':{does}}".rstrip()
        for row in self.rows:
            mark = "!" if row.agree is False else " "
            yield f"{mark} {row.what:{what}}  {row.profile or '-':{says}}  {row.server}"
        count = len(self.disagreements)
        differ = "1 row differs" if count == 1 else f"{count} rows differ"
        yield f"{differ} from the profile" if count else "the server does what the profile says"


def diagnose(fs: LakeFileSystem, bucket: str | None = None) -> Report:
    """Probe a server, in a place that is removed afterwards.

    Args:
        fs: A filesystem on the server.
        bucket: A bucket in which to use a temporary prefix; probes that need a bucket of their own are then skipped.
            None makes two buckets, and removes them.

    Returns:
        The report.

    Raises:
        LakeError: The server cannot be reached, or the place cannot be made.
    """
    options: dict[str, Any] = {name: value for name, value in fs.storage_options.items() if name != "loop"}
    once = {"max_retries": 0, "settings": fs.settings, "asynchronous": False, "skip_instance_cache": True}
    patient = type(fs)(*fs.storage_args, **{**options, **once})
    report: Report = sync(patient.loop, _diagnose, patient.store, bucket)
    return report


async def _diagnose(store: Store, bucket: str | None) -> Report:
    profile = await store.profile()
    client = await store.client()
    mark = f"tierlake-doctor-{uuid.uuid4().hex[:12]}"
    places: dict[str, Place] = {}
    try:
        if bucket is None:
            for name, needs in ((mark, "bucket"), (f"{mark}-v", "versions")):
                await store.call("create_bucket", Bucket=name)
                places[needs] = Place(client, name)
            status = {"Status": "Enabled"}
            await places["versions"].ask("put_bucket_versioning", VersioningConfiguration=status)
            places["prefix"] = places["bucket"]
        else:
            name = store.split_path(bucket)[0]
            await store.send("head_bucket", Bucket=name)
            places["prefix"] = Place(client, name, f"{mark}/")
        rows = [await _row(probe, profile, places.get(probe.needs)) for probe in PROBES]
    finally:
        for place in {place.bucket: place for place in places.values()}.values():
            await _remove(store, place)
    return Report(str(client.meta.endpoint_url), profile.name, tuple(rows))


async def _row(probe: Probe, profile: Profile, place: Place | None) -> Row:
    says = probe.says(profile)
    expected = " or ".join(says)
    if place is None:
        return Row(probe.what, expected, NOT_TRIED, None)
    try:
        does = await probe.does(place)
    except boto.ClientError as error:
        does = f"failed: {code_of(error)}"
    except LakeError as error:
        does = f"failed: {error.code}"
    answer = does if does in says else does.partition(":")[0]
    return Row(probe.what, expected, does, answer in says if says else None)


async def _remove(store: Store, place: Place) -> None:
    """Remove uploads, versions and markers, and the bucket if it is our own."""
    for upload in (await place.ask("list_multipart_uploads")).get("Uploads", ()):
        if upload["Key"].startswith(place.prefix):
            await place.ask("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
    listed = await store.send("list_object_versions", Bucket=place.bucket, Prefix=place.prefix)
    entries = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
    objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
    if objects:  # fewer than one page: each probe writes a handful
        await store.send("delete_objects", Bucket=place.bucket, Delete={"Objects": objects, "Quiet": True})
    if not place.prefix:
        await store.call("delete_bucket", Bucket=place.bucket)
