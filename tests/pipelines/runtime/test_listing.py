"""Small objects, many at once: what is gone is left out, and what nobody can tell is an error."""

from __future__ import annotations

import pytest

from tierlake.connector.errors import LakeError
from tierlake.pipelines.runtime.listing import contents


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_contents_of_names_that_look_like_patterns(bucket, fs) -> None:
    names = [f"{bucket}/t[1]/{name}" for name in ("a", "b*", "?")]
    for name in names:
        fs.pipe_file(name, name.encode())
    assert contents(fs, []) == {}
    assert contents(fs, [*names, f"{bucket}/t[1]/gone"]) == {name: name.encode() for name in names}


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_a_store_that_fails_has_not_said_that_it_is_gone(bucket, fs, monkeypatch) -> None:
    fs.pipe_file(f"{bucket}/a", b"1")

    async def failing(*_: object, **__: object) -> bytes:
        raise LakeError("503")

    monkeypatch.setattr(type(fs), "_cat_file", failing)
    with pytest.raises(LakeError, match="503"):
        contents(fs, [f"{bucket}/a"])
