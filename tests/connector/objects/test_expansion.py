"""A key that exists is meant, whatever characters it has; only what is no name is a pattern."""

from __future__ import annotations

import pytest
from fsspec.asyn import sync

from tierlake.connector.errors import InvalidSetting

# A name, and the neighbour that it matches as a pattern.
NAMES = {"a[1].txt": "a1.txt", "x*": "xyz", "q?": "qq", "[ab]": "a", "**": "anything"}
FOLDERS = {"d[1]": "d1", "e*": "e2", "**": "f"}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def place(fs, server, bucket, name):
    """A folder with an object of the name and its neighbour."""
    if name == "x*" and server.name == "minio":
        pytest.skip("MinIO takes no such key")
    server.admin.put_object(Bucket=bucket, Key=f"p/{name}", Body=b"mine")
    server.admin.put_object(Bucket=bucket, Key=f"p/{NAMES[name]}", Body=b"neighbour")
    return f"{bucket}/p"


READS = {
    "cat": lambda fs, path: fs.cat(path),
    "cat a list": lambda fs, path: fs.cat([path])[path],
    "cat_file": lambda fs, path: fs.cat_file(path),
    "cat_ranges": lambda fs, path: fs.cat_ranges([path], 0, 4)[0],
    "head": lambda fs, path: fs.head(path, 4),
    "tail": lambda fs, path: fs.tail(path),
    "open": lambda fs, path: fs.open(path).read(),
    "read_block": lambda fs, path: fs.read_block(path, 0, 4),
    "read_text": lambda fs, path: fs.read_text(path).encode(),
    "with protocol": lambda fs, path: fs.cat(f"lake://{path}"),
}


def test_it_is_read(fs, place, name):
    for how, read in READS.items():
        assert read(fs, f"{place}/{name}") == b"mine", how


def test_it_is_told_about(fs, place, name):
    path = f"{place}/{name}"
    assert fs.exists(path)
    assert fs.isfile(path)
    assert not fs.isdir(path)
    assert fs.info(path)["name"] == path
    assert fs.size(path) == 4
    assert fs.find(path) == [path]
    assert fs.ls(path, detail=False) == [path]
    assert fs.du(path) == 4
    assert fs.expand_path(path) == [path]
    assert fs.expand_path([path, f"{place}/{NAMES[name]}"]) == sorted([path, f"{place}/{NAMES[name]}"])
    assert f"{place}/{NAMES[name]}" in fs.glob(path), "this one takes patterns"


DELETES = {
    "rm": lambda fs, path: fs.rm(path),
    "rm a list": lambda fs, path: fs.rm([path]),
    "rm recursive": lambda fs, path: fs.rm(path, recursive=True),
    "rm_file": lambda fs, path: fs.rm_file(path),
    "delete": lambda fs, path: fs.delete(path),
    "mv": lambda fs, path: fs.mv(path, path.rpartition("/")[0] + "-elsewhere/y"),
    "mv recursive": lambda fs, path: fs.mv(path, path.rpartition("/")[0] + "-elsewhere/y", recursive=True),
    "mv_file": lambda fs, path: sync(fs.loop, fs._mv_file, path, path.rpartition("/")[0] + "-elsewhere/y"),
}


def test_it_alone_goes(fs, server, place, name):
    bucket = place.partition("/")[0]
    for how, delete in DELETES.items():
        server.admin.put_object(Bucket=bucket, Key=f"p/{name}", Body=b"mine")
        delete(fs, f"{place}/{name}")
        assert server.keys(bucket, "p/") == [f"p/{NAMES[name]}"], how
        if how.startswith("mv"):
            assert fs.cat_file(f"{bucket}/p-elsewhere/y") == b"mine", how
            fs.rm(f"{bucket}/p-elsewhere/y")


def test_it_is_found_past_an_older_listing(make_fs, server, bucket):
    """Somebody else wrote it after we listed: a listing that lacks it makes no pattern of it."""
    fs = make_fs(view_freshness=3600)
    server.admin.put_object(Bucket=bucket, Key="p/a1.txt", Body=b"neighbour")
    assert len(fs.ls(f"{bucket}/p")) == 1
    server.admin.put_object(Bucket=bucket, Key="p/a[1].txt", Body=b"mine")
    assert fs.cat(f"{bucket}/p/a[1].txt") == b"mine"
    fs.rm(f"{bucket}/p/a[1].txt")
    assert server.keys(bucket) == ["p/a1.txt"]


def test_copies_of_it(fs, place, name, tmp_path):
    fs.makedirs(f"{place}/there")
    fs.pipe_file(f"{place}/there/z", b"1")
    for target in ("copy", "there", "there/again/"):
        fs.cp(f"{place}/{name}", f"{place}/{target}")
    fs.copy([f"{place}/{name}"], f"{place}/listed")
    for target in ("copy", f"there/{name}", f"there/again/{name}", f"listed/{name}"):
        assert fs.cat_file(f"{place}/{target}") == b"mine"
    local = tmp_path / "local"
    local.mkdir()
    fs.get(f"{place}/{name}", str(tmp_path / "file"))
    fs.get(f"{place}/{name}", str(local))
    fs.get([f"{place}/{name}"], str(tmp_path / "listed"))
    fs.get_file(f"{place}/{name}", str(tmp_path / "single"))
    fs.download(f"{place}/{name}", str(tmp_path / "named[1]"))
    for target in ("file", f"local/{name}", f"listed/{name}", "single", "named[1]"):
        assert (tmp_path / target).read_bytes() == b"mine"


WRITES = {
    "pipe": lambda fs, path, local: fs.pipe(path, b"new"),
    "pipe_file": lambda fs, path, local: fs.pipe_file(path, b"new"),
    "open": lambda fs, path, local: write(fs, path),
    "touch": lambda fs, path, local: (fs.touch(path), fs.pipe(path, b"new")),
    "put": lambda fs, path, local: fs.put(local, path),
    "put_file": lambda fs, path, local: fs.put_file(local, path),
    "cp": lambda fs, path, local: (fs.pipe(f"{path}-source", b"new"), fs.cp(f"{path}-source", path)),
    "write_text": lambda fs, path, local: fs.write_text(path, "new"),
}


def write(fs, path):
    with fs.open(path, "wb") as file:
        file.write(b"new")


@pytest.mark.parametrize("exists", [True, False])
def test_it_is_written(fs, server, bucket, tmp_path, exists):
    (tmp_path / "a[1].txt").write_bytes(b"new")
    (tmp_path / "a1.txt").write_bytes(b"the local neighbour")
    server.admin.put_object(Bucket=bucket, Key="p/b1.txt", Body=b"neighbour")
    for how, put in WRITES.items():
        if exists:
            server.admin.put_object(Bucket=bucket, Key="p/b[1].txt", Body=b"mine")
        put(fs, f"{bucket}/p/b[1].txt", str(tmp_path / "a[1].txt"))
        assert fs.cat_file(f"{bucket}/p/b[1].txt") == b"new", how
        assert fs.cat_file(f"{bucket}/p/b1.txt") == b"neighbour", how
        fs.rm(f"{bucket}/p/b[1].txt")


def test_local_names_are_names_too(fs, server, bucket, tmp_path):
    (tmp_path / "d[1]").mkdir()
    (tmp_path / "d1").mkdir()
    for folder, data in (("d[1]", b"mine"), ("d1", b"neighbour")):
        (tmp_path / folder / "x").write_bytes(data)
        (tmp_path / folder / "a[1]").write_bytes(data)
        (tmp_path / folder / "a1").write_bytes(data)
    fs.put(str(tmp_path / "d[1]"), f"{bucket}/up", recursive=True)
    fs.put([str(tmp_path / "d[1]" / "a[1]"), str(tmp_path / "d1" / "x*")], f"{bucket}/list")
    assert server.keys(bucket) == ["list/a[1]", "list/x", "up/a1", "up/a[1]", "up/x"]
    assert fs.cat_file(f"{bucket}/up/x") == fs.cat_file(f"{bucket}/list/a[1]") == b"mine"
    assert fs.cat_file(f"{bucket}/list/x") == b"neighbour"


@pytest.fixture(params=FOLDERS)
def folders(request, fs, server, bucket):
    """A folder whose name is a pattern that matches its neighbour."""
    mine, neighbour = request.param, FOLDERS[request.param]
    if mine != "d[1]" and server.name == "minio":
        pytest.skip("MinIO takes no such key")
    for folder, data in ((mine, b"mine"), (neighbour, b"neighbour")):
        for key in ("x", "deep/y"):
            server.admin.put_object(Bucket=bucket, Key=f"p/{folder}/{key}", Body=data)
    return mine, neighbour


def test_folders(fs, server, bucket, folders, tmp_path):
    mine, neighbour = folders
    folder = f"{bucket}/p/{mine}"
    below = [f"{folder}/deep/y", f"{folder}/x"]
    assert fs.isdir(folder)
    assert fs.find(folder) == below
    assert fs.ls(folder, detail=False) == [f"{folder}/deep", f"{folder}/x"]
    assert fs.cat(folder, recursive=True, on_error="omit") == dict.fromkeys(below, b"mine")
    fs.get(folder, str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "deep" / "y").read_bytes() == b"mine"
    (tmp_path / "there").mkdir()
    fs.get(folder, str(tmp_path / "there"), recursive=True)
    assert (tmp_path / "there" / mine / "x").read_bytes() == b"mine"
    fs.cp(folder, f"{bucket}/copy", recursive=True)
    fs.cp(folder, f"{bucket}/copy", recursive=True)
    assert server.keys(bucket, "copy/") == sorted(["copy/deep/y", "copy/x", f"copy/{mine}/deep/y", f"copy/{mine}/x"])
    fs.mv(folder, f"{bucket}/moved", recursive=True)
    assert fs.cat_file(f"{bucket}/moved/deep/y") == b"mine"
    assert server.keys(bucket, "p/") == [f"p/{neighbour}/deep/y", f"p/{neighbour}/x"]


def test_a_folder_alone_goes(fs, server, bucket, folders):
    mine, neighbour = folders
    fs.rm(f"{bucket}/p/{mine}", recursive=True)
    assert server.keys(bucket) == [f"p/{neighbour}/deep/y", f"p/{neighbour}/x"]


def test_what_is_no_name_is_a_pattern(fs, server, bucket, tmp_path):
    fs.pipe({f"{bucket}/p/{name}": name.encode() for name in ("a1", "a2", "b1")})
    assert sorted(fs.cat(f"{bucket}/p/a*").values()) == [b"a1", b"a2"]
    assert fs.cat([f"{bucket}/p/a?", f"{bucket}/p/b1"]).keys() == {f"{bucket}/p/{name}" for name in ("a1", "a2", "b1")}
    fs.get(f"{bucket}/p/a[12]", str(tmp_path / "got"))
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["a1", "a2"]
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{bucket}/p/c*")
    with pytest.raises(FileNotFoundError):
        fs.rm(f"{bucket}/p/c*")
    fs.rm(f"{bucket}/p/a*")
    assert server.keys(bucket) == ["p/b1"]


ODD = ["a b", "a+b", "a%20b", "ä€𝄞", "a&b=c", "a#b", "a;b", "a:b", "~a", "a{b}", "a'b", 'a"b', "x?versionId=1", "a,b"]


@pytest.mark.parametrize("odd", ODD)
def test_other_characters(fs, server, bucket, odd, tmp_path):
    path = f"{bucket}/p/{odd}"
    fs.pipe_file(f"{bucket}/p/x", b"neighbour")
    with fs.open(path, "wb") as file:
        file.write(b"mine")
    fs.cp(path, f"{path}2")
    fs.mv(f"{path}2", f"{path}3")
    fs.get(f"{path}3", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == fs.cat(path) == b"mine"
    assert fs.info(path)["name"] == path
    assert server.keys(bucket) == sorted(["p/x", f"p/{odd}", f"p/{odd}3"])
    fs.rm([path, f"{path}3"])
    assert server.keys(bucket) == ["p/x"]
    assert fs.cat_file(f"{bucket}/p/x") == b"neighbour"


def test_a_large_object_with_an_odd_name_is_appended_to(fs, server, bucket):
    for key, letter in (("x", b"n"), ("x?versionId=1", b"m")):
        server.admin.put_object(Bucket=bucket, Key=key, Body=letter * (6 * 2**20))
    with fs.open(f"{bucket}/x?versionId=1", "ab") as file:
        file.write(b"more")
    assert fs.cat_file(f"{bucket}/x?versionId=1") == b"m" * (6 * 2**20) + b"more"
    assert fs.size(f"{bucket}/x") == 6 * 2**20


def test_a_version_is_a_version_to_who_asked_for_versions(make_fs, make_bucket):
    fs = make_fs(version_aware=True)
    path = f"{make_bucket(versioned=True)}/x"
    fs.pipe_file(path, b"first")
    first = fs.info(path)["VersionId"]
    fs.pipe_file(path, b"second")
    assert fs.cat_file(f"{path}?versionId={first}") == b"first"
    assert fs.cat_file(path) == b"second"
    with pytest.raises((FileNotFoundError, InvalidSetting)):
        make_fs().cat_file(f"{path}?versionId={first}")
