"""Reads of any kind give the true content, whatever is expected, fetched ahead, dropped or refused memory."""

# ruff: noqa: S311 -- made-up data, the same each time
from __future__ import annotations

import functools
import gc
import io
import queue
import random
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierlake.connector.transfer.column_forecast import ColumnForecast
from tierlake.connector.transfer.memory import ReadMemory
from tierlake.connector.transfer.parquet_cache import AutomaticForecast
from tierlake.connector.transfer.row_groups import END_BYTES, RowGroups, footer_range
from tierlake.connector.transfer.stream_forecast import StreamForecast
from tierlake.connector.transfer.window import Window


class Threads:
    """A source whose parts arrive from another thread, in whatever order, and some fail."""

    is_parallel = True

    def __init__(self, content, fails=lambda part: False):
        self.content, self.fails, self.begun, self.cancelled = content, fails, [], []
        self._waiting = queue.SimpleQueue()
        self._random = random.Random(len(content))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def join(self):
        """Wait until what was begun has ended; after `close`."""
        self._thread.join()

    def begin(self, parts):
        self.begun += [(part.start, part.end, part.ahead) for part in parts]
        shuffled = list(parts)
        self._random.shuffle(shuffled)
        for part in shuffled:
            self._waiting.put(part)

    def check(self):
        pass

    def cancel(self, parts, *, wait_seconds=0):
        self.cancelled += [(part.start, part.end) for part in parts]

    def close(self):
        self._waiting.put(None)

    def _work(self):
        while (part := self._waiting.get()) is not None:
            if part.cancelled:
                part.settle(None, InterruptedError())
            elif self.fails(part):
                part.settle(None, ConnectionError("by the test"))
            else:
                part.settle(memoryview(self.content)[part.start : part.end])
            del part


@functools.cache
def parquet(row_groups=12, columns=5, rows=4000):
    """A file of several row groups, whose chunks are of different lengths."""
    numbers = random.Random(1)
    schema = pa.schema([(f"c{i}", pa.int64()) for i in range(columns)])
    file = io.BytesIO()
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=["c0"]) as writer:
        for _ in range(row_groups):
            count = numbers.randrange(rows // 2, rows)
            values = [[numbers.randrange(2 ** (8 * (i + 1))) for _ in range(count)] for i in range(columns)]
            writer.write_table(pa.table(values, schema=schema), row_group_size=count)
    return file.getvalue()


@functools.cache
def text(size=300_000):
    return random.Random(2).randbytes(size)


def opened(content, forecast, *, limit=2**28, fails=lambda part: False, tail=2**14):
    memory = ReadMemory()
    source = Threads(content, fails)
    window = Window(source, len(content), forecast(len(content)), memory, limit)
    if tail:
        start = max(len(content) - tail, 0)
        window.hold(start, memoryview(content)[start:])
    return window, source, memory


FORECASTS = {
    "columns": ColumnForecast,
    "stream": lambda size: StreamForecast(size, 2**12),
    "automatic": lambda size: AutomaticForecast(size, 2**12),
}
CONTENTS = {
    "parquet": parquet,
    "text": text,
    "garbage": lambda: text() + (2000).to_bytes(4, "little") + b"PAR1",
    "encrypted": lambda: parquet()[:-4] + b"PARE",
    "magic alone": lambda: b"PAR1",
    "a lie": lambda: parquet()[:-8] + (2**31).to_bytes(4, "little") + b"PAR1",
    "empty": lambda: b"",
}


@st.composite
def spans(draw, size):
    start = draw(st.integers(0, size + 10))
    return start, start + draw(st.one_of(st.integers(0, 300), st.integers(0, 20_000), st.integers(0, size + 10)))


@st.composite
def plans(draw, content):
    """Reads as they come: in order, of whole chunks, or anywhere."""
    size, reads = len(content), []
    limits = footer_range(content[-END_BYTES:], size) if size >= END_BYTES else None
    groups = RowGroups.of(memoryview(content)[limits[0] :], limits[0]) if limits else None
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["order", "chunks", "anywhere", "backwards"]))
        if kind == "chunks" and groups is not None:
            columns = draw(st.lists(st.integers(0, 4), min_size=1, unique=True))
            chosen = draw(st.lists(st.integers(0, groups.count - 1), min_size=1, max_size=groups.count))
            order = draw(st.sampled_from([sorted, list]))
            reads += [groups.chunk(group, column) for group in order(chosen) for column in columns]
        elif kind == "order":
            step, start = draw(st.integers(1, 30_000)), draw(st.integers(0, size))
            reads += [
                (start + number * step, start + (number + 1) * step) for number in range(draw(st.integers(1, 30)))
            ]
        elif kind == "backwards":
            step = draw(st.integers(1, 30_000))
            reads += [(at, at + step) for at in range(size, max(size - 10 * step, 0), -step)]
        else:
            reads += draw(st.lists(spans(size), max_size=8))
    return reads


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("forecast", FORECASTS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.data(),
    limit=st.sampled_from([0, 1, 100, 10_000, 100_000, 2**28]),
    failing=st.sampled_from([0, 0, 3]),
    tail=st.sampled_from([0, 8, 1000, 2**14]),
    buffers=st.integers(0, 2**32),
)
def test_any_reads(content, forecast, data, limit, failing, tail, buffers):
    true = CONTENTS[content]()
    window, source, memory = opened(
        true,
        FORECASTS[forecast],
        limit=limit,
        tail=tail,
        fails=lambda part: failing and part.ahead and part.start % failing == 0,
    )
    kept = []
    for number, (start, stop) in enumerate(data.draw(plans(true))):
        if buffers >> number % 32 & 1:
            view = window.buffer(start, stop)
            assert view == true[start:stop]
            kept = [*kept[-5:], (view, start, stop)]
            del view
        else:
            assert window.read(start, stop) == true[start:stop]
    assert all(view == true[start:stop] for view, start, stop in kept)
    window.close()
    source.join()
    del window, kept
    assert memory.used == 0


@pytest.mark.parametrize("content", ["parquet", "text"])
@pytest.mark.parametrize("forecast", FORECASTS)
@pytest.mark.parametrize("limit", [0, 5000, 2**28])
def test_threads_on_one_file(content, forecast, limit):
    true = CONTENTS[content]()
    window, source, memory = opened(true, FORECASTS[forecast], limit=limit)
    wrong = []

    def reads(window, seed):
        numbers = random.Random(seed)
        at = 0
        for _ in range(150):
            at = numbers.randrange(len(true)) if numbers.random() < 0.3 else at
            count = numbers.choice([10, 1000, 20_000])
            if window.read(at, at + count) != true[at : at + count]:
                wrong.append((at, count))
            at += count

    threads = [threading.Thread(target=reads, args=(window, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    window.close()
    source.join()
    del window, threads
    gc.collect()
    assert memory.used == 0


class Careful(ColumnForecast):
    """Fetches less ahead at first, so that a small file shows it."""

    credit = 10_000


def fetched(content, chunks, forecast=Careful):
    """How many bytes are fetched for some chunks, and how many of them are asked for."""
    window, source, _ = opened(content, forecast, tail=len(content) // 8)
    asked = 0
    for start, end in chunks:
        assert window.read(start, end) == content[start:end]
        asked += end - start
    window.close()
    return sum(end - start for start, end, _ in source.begun), asked


def groups_of(content):
    start, _ = footer_range(content[-END_BYTES:], len(content))
    return RowGroups.of(memoryview(content)[start:], start)


def test_what_is_read_as_expected_is_fetched_once():
    content, groups = parquet(60, 5, 1000), groups_of(parquet(60, 5, 1000))
    chunks = [groups.chunk(group, 1) for group in range(52)]
    requested, asked = fetched(content, chunks)
    assert asked <= requested <= 1.3 * asked  # those after the last one were expected too


@pytest.mark.parametrize("every", [3, 7, 20])
def test_row_groups_that_a_reader_skips(every):
    """What is fetched in vain is bounded by what was fetched at first and what is read."""
    content, groups = parquet(240, 3, 400), groups_of(parquet(240, 3, 400))
    chunks = [groups.chunk(group, 1) for group in range(0, 200, every)]
    requested, asked = fetched(content, chunks)
    chunk = chunks[0][1] - chunks[0][0]
    assert requested <= Careful.credit + 20 * chunk + 3 * asked


def test_row_groups_backwards():
    content, groups = parquet(240, 3, 400), groups_of(parquet(240, 3, 400))
    chunks = [groups.chunk(group, 1) for group in range(200, 0, -1)]
    requested, asked = fetched(content, chunks)
    chunk = chunks[0][1] - chunks[0][0]
    assert requested <= Careful.credit + 20 * chunk + 1.5 * asked


@pytest.mark.parametrize("limit", [0, 50_000, 400_000])
def test_memory_stays_within_the_limit(limit):
    """Beside what is fetched ahead there is only what the read asks for."""
    content, groups = parquet(60, 5, 1000), groups_of(parquet(60, 5, 1000))
    window, _, memory = opened(content, ColumnForecast, limit=limit)
    longest = 0
    for group in range(60):
        for column in (0, 2, 4):
            start, end = groups.chunk(group, column)
            assert window.read(start, end) == content[start:end]
            longest = max(longest, end - start)
    assert memory.peak <= max(limit, 2**14) + longest + 2**14
