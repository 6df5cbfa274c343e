"""Documents as somebody else, a broken disk or a newer version could leave them: mutations of real ones.

Pure noise is refused at the first byte. A real document with one thing wrong in it gets further into a parser.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["json_mutations", "mutated_bytes", "mutated_json", "mutated_lines", "texts", "yaml_mutations"]

_PLACE: Final = "\ue000place\ue000"
_DEEP: Final = 100_000
_DIGITS: Final = 5_000

_VALUES: Final = (
    "null",
    "true",
    "0",
    "-1",
    "0.5",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "18446744073709551616",
    "9" * _DIGITS,
    "253402300800000",
    "-62135596800001",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"\\u2028\\u0085\\u001b[2J"',
    '"../../other/secret"',
    '"%2e%2e/%2e%2e/other"',
    '"s3://other/secret"',
    '"/etc/passwd"',
    '"a\\nb"',
    '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59.999999-23:59"',
    '"2013-07-04"',
    '"2013-07-04T00:00:00"',
    '"NaN"',
    '"999999999d"',
    '"-1"',
    f'"{"x" * 70_000}"',
    "[]",
    "{}",
    "[[]]",
    '{"": null}',
    '[{"a": [null]}]',
    "[" * _DEEP + "]" * _DEEP,
    '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "[" * _DEEP,
)
"""JSON texts of other types, other sizes and other meanings than any field has."""


def texts() -> st.SearchStrategy[str]:
    """Texts with all that texts should not hold: control characters, surrogates, escapes, separators."""
    strange = st.sampled_from("\x00\x1b\x7f\x85\u2028\ud800\udfff\uffff\U0010ffff%/\\.:?#&='\"[]{}<> \t\n\r-+_eE0٣")
    return st.text(st.one_of(strange, st.characters()), max_size=40)


@st.composite
def mutated_bytes(draw: st.DrawFn, whole: bytes, most: int = 3) -> bytes:
    """Bytes with a few places changed: flipped, cut, repeated, overwritten."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        to = min(len(data), at + draw(st.sampled_from((1, 2, 4, 16, 256))))
        match draw(st.sampled_from(("flip", "set", "cut", "end", "twice", "insert"))):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at:to] = bytes([draw(st.sampled_from((0, 0x20, 0x7F, 0x80, 0xFF)))]) * (to - at)
            case "cut":
                del data[at:to]
            case "end":
                del data[at:]
            case "twice":
                data[at:at] = data[at:to]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


@st.composite
def mutated_json(draw: st.DrawFn, document: Any) -> bytes:
    """A JSON document with one value replaced, dropped, renamed or given twice."""
    places = list(_places(document))
    place = draw(st.sampled_from(places))
    value = draw(st.one_of(st.sampled_from(_VALUES), texts().map(json.dumps)))
    changed = _changed(document, place, draw(st.sampled_from(("set", "set", "set", "drop", "rename", "twice"))))
    return json.dumps(changed).replace(json.dumps(_PLACE), value).encode()


def json_mutations(document: Any) -> st.SearchStrategy[bytes]:
    """A JSON document with a value, or some bytes of it, wrong."""
    return st.one_of(mutated_json(document), mutated_bytes(json.dumps(document).encode()))


def mutated_lines(documents: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """A JSON document a line, one of them wrong."""
    lines = [json.dumps(document).encode() for document in documents]

    def beside(number: int) -> st.SearchStrategy[bytes]:
        others = lines[:number], lines[number + 1 :]
        return json_mutations(documents[number]).map(lambda line: b"\n".join([*others[0], line, *others[1]]))

    return st.integers(0, len(lines) - 1).flatmap(beside)


_BOMB = "[&a [x,x,x,x,x,x,x,x,x]" + "".join(
    f", &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in pairwise("abcdefghi")
) + "]"  # fmt: skip

_YAML = (
    *("2013-99-99", "2013-07-04T99:99:99Z", '!!int ""', "!!int x", "!!bool x", '!!float ""', "!!timestamp x"),
    *("!!python/object:os.system {}", '!!binary "x"', "&a [*a]", "&a {b: *a}", "*b", "? [a] : b", "0x", "1:99:99"),
    *(".nan", ".inf", "~", '"\\ud800"', "[" * 20_000, "{" * 20_000, "- " * 20_000, "!!set {a}", "!!omap [a]"),
    *("9" * _DIGITS, "{<<: x}", "0o9", "!!null x", "!x y", "%YAML 9.9", "!!map x", "!!seq x", "!!str [x]"),
    "["
    "&a [x,x,x,x,x,x,x,x,x]"
    + "".join(f", &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in ("ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"))
    + "]",
)
"""Values of YAML that its readers trip over, each in its own way, and one that is 9 to the power of 9 values."""


@st.composite
def yaml_mutations(draw: st.DrawFn, text: str) -> bytes:
    """A YAML text with a value of a line, or some bytes, wrong."""
    if draw(st.booleans()):
        return draw(mutated_bytes(text.encode()))
    lines = text.splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    value = draw(st.one_of(st.sampled_from(_YAML), texts()))
    lines[number] = f"{lines[number].partition(':')[0]}: {value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are values in a document, the document itself first."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _places(part, (*at, name))


def _changed(value: Any, place: tuple[Any, ...], way: str) -> Any:
    if not place:
        return _PLACE
    name, *rest = place
    if rest:
        part = _changed(value[name], tuple(rest), way)
        return {**value, name: part} if isinstance(value, dict) else [*value[:name], part, *value[name + 1 :]]
    if isinstance(value, list):
        return [*value[:name], *([] if way == "drop" else [_PLACE]), *value[name + (way != "twice") :]]
    if way == "drop":
        return {key: part for key, part in value.items() if key != name}
    if way == "rename":
        return {key if key != name else f"{name} ": part for key, part in value.items()}
    if way == "twice":
        return _Twice(value, name)
    return {**value, name: _PLACE}


class _Twice(dict):  # type: ignore[type-arg]  # what `json.dumps` writes of it
    """An object that names a field twice."""

    def __init__(self, value: dict[str, Any], name: str) -> None:
        super().__init__(value)
        self._name = name

    def items(self) -> Any:
        """Its fields, and one of them again."""
        return [*super().items(), (self._name, _PLACE)]
