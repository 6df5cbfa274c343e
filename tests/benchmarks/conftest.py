"""The works on small data, in this process, past a relay that counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.harness import remove
from benchmarks.model import Contender, Options, Place, Work
from benchmarks.relay import Relay, Traffic
from benchmarks.works import WORKS, columns, upload, whole
from tests.servers import Rig
from tierlake.connector.local_server.servers import REGION

ROWS, GROUPS = 1_200_000, 12


@pytest.fixture(scope="session")
def counting(seaweedfs: Rig) -> Iterator[Relay]:
    with Relay(seaweedfs.endpoint_url) as relay:
        yield relay


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Options:
    folder = tmp_path_factory.mktemp("benchmarks")
    return Options(folder / "cache", folder, days=31, megabytes=1, keys=2_500)


@pytest.fixture(scope="session")
def lineitem(small: Options) -> Path:
    """Like lineitem: 12 row groups, whose wanted columns have 23 of its 32 MB."""
    random = np.random.default_rng(7)
    keys = pa.array(random.integers(0, 1 << 40, ROWS))
    prices = pa.array(random.integers(0, 10_000_000, ROWS))
    rows = pa.table(
        {
            "l_orderkey": keys,
            "l_extendedprice": prices.cast(pa.decimal128(19)).cast(pa.decimal128(21, 2)).cast(pa.decimal128(15, 2)),
            "l_shipdate": pa.array(random.integers(0, 10_000, ROWS, np.int32)).cast(pa.date32()),
            "l_comment": keys,
        }
    )
    file = small.scratch / "lineitem.parquet"
    pq.write_table(rows, file, row_group_size=ROWS // GROUPS, use_dictionary=False, compression="none")
    return file


@pytest.fixture(scope="session")
def large(small: Options) -> Path:
    """A file of several parts."""
    file = small.scratch / "large"
    file.write_bytes(np.random.default_rng(7).bytes(24 << 20))
    return file


@dataclass
class Stage:
    """A work, prepared."""

    work: Work
    place: Place
    relay: Relay

    def act(self, contender: Contender, name: str) -> Traffic:
        """Act as the harness does, and check the answer; returns what was sent."""
        act = contender.start(self.place)
        self.relay.page()
        result = act(name)
        traffic = self.relay.page()
        answer = contender.answer or self.work.answer
        found: Any = answer(result) if answer else None
        if self.work.written:
            found = self.work.written(self.place, name)
            remove(self.place, name)
        assert found == self.place.facts["answer"]
        return traffic


@pytest.fixture(scope="session")
def stages(seaweedfs: Rig, counting: Relay, small: Options, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Returns the stage of a work, which is prepared when it is first asked for."""
    made: dict[str, Stage] = {}

    def facts(work: Work, place: Place) -> dict[str, Any]:
        if work.name.endswith("columns"):
            return columns.put(place, request.getfixturevalue("lineitem"))
        if work.name in {"cat", "get"}:
            return whole.put(place, request.getfixturevalue("large"), small.scratch)
        return upload.facts(request.getfixturevalue("large")) if work.name == "upload" else work.prepare(place, small)

    def stage(name: str) -> Stage:
        if name not in made:
            work, bucket = WORKS[name], seaweedfs.make_bucket()
            place = Place(counting.url, seaweedfs.key, seaweedfs.secret, REGION, bucket, seaweedfs.profile)
            made[name] = Stage(work, replace(place, facts=facts(work, place)), counting)
        return made[name]

    yield stage
    for one in made.values():
        seaweedfs.drop_bucket(one.place.bucket)
