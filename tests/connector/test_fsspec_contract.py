"""fsspec's published suite, on each real server: copy, get, mv, open, pipe and put do what every filesystem does."""

from __future__ import annotations

import pytest
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

pytestmark = pytest.mark.usefixtures("engine")


class LakeFixtures(AbstractFixtures):
    @pytest.fixture
    def fs(self, fs):
        return fs

    @pytest.fixture
    def fs_path(self, bucket):
        return bucket

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self):
        return False


class LocalFixtures:
    @pytest.fixture
    def local_fs(self):
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def local_path(self, tmp_path):
        return make_path_posix(str(tmp_path))

    @pytest.fixture
    def local_join(self):
        return lambda *parts: "/".join(parts)


@pytest.mark.slow
class TestCopy(AbstractCopyTests, LakeFixtures):
    pass


@pytest.mark.slow
class TestGet(AbstractGetTests, LakeFixtures):
    pass


@pytest.mark.slow
class TestPut(AbstractPutTests, LakeFixtures):
    pass


class TestOpen(AbstractOpenTests, LakeFixtures):
    pass


class TestPipe(AbstractPipeTests, LakeFixtures):
    pass
