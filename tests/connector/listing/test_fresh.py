"""Listings that no cache answers."""


def count_listings(fs, monkeypatch) -> list[str]:
    listed: list[str] = []
    request = fs.store.gateway._request

    async def counting(operation, params):
        listed.append(operation)
        return await request(operation, params)

    monkeypatch.setattr(fs.store.gateway, "_request", counting)
    return listed


def test_what_others_wrote_and_deleted_is_seen_by_one_request(fs, server, bucket, monkeypatch):
    fs.pipe({f"{bucket}/t/d={day}/x": b"1" for day in range(3)})
    assert len(fs.find(f"{bucket}/t")) == len(fs.ls(f"{bucket}/t")) == 3
    server.admin.put_object(Bucket=bucket, Key="t/d=3/x", Body=b"333")
    server.admin.delete_object(Bucket=bucket, Key="t/d=0/x")
    listed = count_listings(fs, monkeypatch)
    fresh = fs.list_fresh(f"lake://{bucket}/t")
    assert {path: info["size"] for path, info in fresh.items()} == {
        f"{bucket}/t/d=1/x": 1,
        f"{bucket}/t/d=2/x": 1,
        f"{bucket}/t/d=3/x": 3,
    }
    assert listed == ["list_objects_v2"]
    assert fs.ls(f"{bucket}/t/d=3") == [f"{bucket}/t/d=3/x"]  # what was listed older is forgotten
    assert listed == ["list_objects_v2"]


def test_folders_are_in_it_where_they_are_wanted_and_nothing_is_there_where_nothing_is(fs, bucket):
    fs.pipe_file(f"{bucket}/t/d=1/x", b"1")
    assert {path: info["type"] for path, info in fs.list_fresh(f"{bucket}/t", withdirs=True).items()} == {
        f"{bucket}/t": "directory",
        f"{bucket}/t/d=1": "directory",
        f"{bucket}/t/d=1/x": "file",
    }
    assert fs.list_fresh(f"{bucket}/elsewhere") == {}
