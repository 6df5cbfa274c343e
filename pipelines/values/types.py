"""Which types can share a column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pat

__all__ = ["is_bytes", "is_listing", "is_number", "is_text", "meets", "wider"]

_LONGEST_DECIMAL = 38
_FLOAT_BITS = {32: 24, 64: 53}


def is_text(kind: pa.DataType) -> bool:
    """Whether these are texts."""
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether these are bytes."""
    return bool(
        pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_binary_view(kind) or pat.is_fixed_size_binary(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether these are numbers."""
    return bool(pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind))


def is_listing(kind: pa.DataType) -> bool:
    """Whether these are lists, of any layout."""
    return bool(
        pat.is_list(kind)
        or pat.is_large_list(kind)
        or pat.is_fixed_size_list(kind)
        or pat.is_list_view(kind)
        or pat.is_large_list_view(kind)
    )


def plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values behind a dictionary or run ends."""
    while pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def meets(source: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a value of type `source` can ever be stored in a column of type `kind`.

    Numbers meet numbers, dates meet wall clock times, and texts also meet dates, times and decimals, which typed
    sources often carry as text. Lists, maps and structs meet by what is in them, structs by the names of their fields:
    `kind` must have each field of `source`. Instants and wall clock times do not meet.
    """
    source = plain(source)
    if pat.is_null(source) or source.equals(kind):
        return True
    if is_number(source):
        return is_number(kind)
    if is_text(source):
        return is_text(kind) or pat.is_decimal(kind) or pat.is_date(kind) or pat.is_timestamp(kind)
    if is_bytes(source):
        return is_bytes(kind)
    if pat.is_timestamp(source):
        if pat.is_date(kind):
            return source.tz is None
        return pat.is_timestamp(kind) and (source.tz is None) == (kind.tz is None)
    if pat.is_date(source):
        return pat.is_date(kind) or (pat.is_timestamp(kind) and kind.tz is None)
    if is_listing(source):
        return is_listing(kind) and meets(source.value_type, kind.value_type)
    if pat.is_map(source):
        return pat.is_map(kind) and meets(source.key_type, kind.key_type) and meets(source.item_type, kind.item_type)
    if pat.is_struct(source):
        return pat.is_struct(kind) and _fields_meet(source, kind)
    return False


def _fields_meet(source: pa.StructType, kind: pa.StructType) -> bool:
    names = [field.name for field in source]
    fields = {field.name: field.type for field in kind}
    return (
        len(set(names)) == len(names)
        and len(fields) == kind.num_fields > 0
        and all(field.name in fields and meets(field.type, fields[field.name]) for field in source)
    )


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that all values of both types can be stored in without loss, or None where there is none.

    Structs get the fields of both, in the order of the first, then of the second.
    """
    one, other = plain(one), plain(other)
    if one.equals(other) or pat.is_null(other):
        return one
    if pat.is_null(one):
        return other
    if is_number(one) and is_number(other):
        return _wider_number(one, other)
    if is_text(one) and is_text(other):
        return pa.string()
    if is_bytes(one) and is_bytes(other):
        return pa.binary()
    if pat.is_temporal(one) and pat.is_temporal(other):
        return _wider_time(one, other)
    if is_listing(one) and is_listing(other):
        element = wider(one.value_type, other.value_type)
        return None if element is None else pa.list_(one.value_field.with_type(element))
    if pat.is_map(one) and pat.is_map(other):
        key, item = wider(one.key_type, other.key_type), wider(one.item_type, other.item_type)
        return None if key is None or item is None else pa.map_(key, one.item_field.with_type(item))
    if pat.is_struct(one) and pat.is_struct(other):
        return _united(one, other)
    return None


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    floats = [kind.bit_width for kind in (one, other) if pat.is_floating(kind)]
    if floats:
        if pat.is_decimal(one) or pat.is_decimal(other):
            return None
        width = max(32, *floats)
        integers = [_bits(kind) for kind in (one, other) if pat.is_integer(kind)]
        for bits, exact in _FLOAT_BITS.items():
            if bits >= width and all(integer <= exact for integer in integers):
                return pa.float32() if bits == 32 else pa.float64()  # noqa: PLR2004 - bits
        return None
    if pat.is_decimal(one) or pat.is_decimal(other):
        (left, scale), (right, other_scale) = _digits(one), _digits(other)
        digits = max(left, right) + max(scale, other_scale)
        return pa.decimal128(digits, max(scale, other_scale)) if digits <= _LONGEST_DECIMAL else None
    signed = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    needed = max(_bits(one) + 1, _bits(other) + 1)
    return next((kind for bits, kind in signed.items() if bits >= needed), None)


def _bits(kind: pa.DataType) -> int:
    """The bits of an integer type's values, without the sign."""
    return int(kind.bit_width) - int(pat.is_signed_integer(kind))


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """The digits before and after the point."""
    if pat.is_decimal(kind):
        return kind.precision - kind.scale, max(kind.scale, 0)
    return len(str(1 << _bits(kind))), 0


def _wider_time(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if pat.is_date(one) and pat.is_date(other):
        return pa.date32()
    if not all(pat.is_date(kind) or pat.is_timestamp(kind) for kind in (one, other)):
        return None
    zones = [kind.tz if pat.is_timestamp(kind) else None for kind in (one, other)]
    if (zones[0] is None) != (zones[1] is None):
        return None
    return pa.timestamp("us", "UTC" if zones[0] else None)


def _united(one: pa.StructType, other: pa.StructType) -> pa.DataType | None:
    first, second = {field.name: field for field in one}, {field.name: field for field in other}
    if len(first) != one.num_fields or len(second) != other.num_fields:
        return None
    fields = []
    for name, field in (first | {name: field for name, field in second.items() if name not in first}).items():
        both = wider(field.type, second[name].type) if name in first and name in second else field.type
        if both is None:
            return None
        required = name in first and name in second and not first[name].nullable and not second[name].nullable
        fields.append(pa.field(name, both, nullable=not required))
    return pa.struct(fields)
