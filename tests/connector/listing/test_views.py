"""Providers of views come from other packages: their import is no work for the event loop."""

import threading

import pytest
from fsspec.asyn import get_loop

from tierlake.connector.listing import views


@pytest.fixture
def loaded_in(monkeypatch) -> list[int]:
    """No provider is loaded yet; the threads in which they are."""
    threads: list[int] = []
    found = views.entry_points
    monkeypatch.setattr(views, "_registered", {})
    monkeypatch.setattr(views, "_state", {"loaded": False})
    monkeypatch.setattr(views, "entry_points", lambda **group: threads.append(threading.get_ident()) or found(**group))
    return threads


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("first", ["find", "pipe_file"])
def test_providers_are_loaded_once_and_not_on_the_event_loop(fs, bucket, loaded_in, first):
    loop_thread: list[int] = []
    get_loop().call_soon_threadsafe(lambda: loop_thread.append(threading.get_ident()))
    {"find": lambda: fs.find(f"{bucket}/t"), "pipe_file": lambda: fs.pipe_file(f"{bucket}/t/x", b"1")}[first]()
    fs.pipe_file(f"{bucket}/t/y", b"1")
    assert len(loaded_in) == 1
    assert loop_thread[0] not in loaded_in
    assert "_delta_log" in {name for provider in views.view_providers() for name in provider.hidden}
