"""MongoDB's Relaxed Extended JSON v2, the form documents come in and go back.

Text, numbers, booleans, None, lists and dicts are what they look like; every other type is a dict with a `$`:

- ObjectId `{"$oid": "..."}`, date `{"$date": "2024-01-31T09:30:00Z"}`, Decimal128 `{"$numberDecimal": "1.50"}`
- Int64 beyond 2^53 `{"$numberLong": "..."}`, doubles that are no number `{"$numberDouble": "NaN"}`
- and `$binary`, `$timestamp`, `$regularExpression`, `$code`, `$symbol`, `$minKey`, `$maxKey`, `$undefined`, `$dbPointer`

What you hand back unaltered keeps its BSON type. In a document you return, a `datetime`, a `Decimal`, a `UUID`, `bytes`, and a
float that is no number are written as Extended JSON too.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SAFE = 1 << 53
_MILLISECOND = timedelta(milliseconds=1)

_NAMES = {
    "$oid": "objectId",
    "$date": "date",
    "$numberDecimal": "decimal",
    "$numberLong": "long",
    "$numberInt": "int",
    "$numberDouble": "double",
    "$binary": "binData",
    "$uuid": "binData",
    "$timestamp": "timestamp",
    "$regularExpression": "regex",
    "$code": "javascript",
    "$symbol": "symbol",
    "$minKey": "minKey",
    "$maxKey": "maxKey",
    "$undefined": "undefined",
    "$dbPointer": "dbPointer",
}


def type_name(value: Any) -> str:
    """What MongoDB calls the value's type: `string`, `int`, `objectId` and so on.

    JSON has one kind of number: whole ones are `int` or, beyond 32 bits, `long`, and others `double`.
    """
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        whole = as_int(value)
        if whole is None:
            return "double"
        return "int" if -(1 << 31) <= whole < 1 << 31 else "long"
    if isinstance(value, list):
        return "array"
    if isinstance(value, dict):
        if len(value) == 1:
            return _NAMES.get(next(iter(value)), "object")
        return "javascriptWithScope" if value.keys() == {"$code", "$scope"} else "object"
    return type(value).__name__


def _wrapped(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) and len(value) == 1 else None


def is_object_id(value: Any) -> bool:
    """Whether it is an ObjectId."""
    return _wrapped(value, "$oid") is not None


def is_date(value: Any) -> bool:
    """Whether it is a BSON date."""
    return _wrapped(value, "$date") is not None


def is_decimal(value: Any) -> bool:
    """Whether it is a Decimal128."""
    return _wrapped(value, "$numberDecimal") is not None


def is_long(value: Any) -> bool:
    """Whether it is an Int64 beyond 2^53; smaller ones are plain numbers."""
    return _wrapped(value, "$numberLong") is not None


def is_number(value: Any) -> bool:
    """Whether it is an Int32, Int64, Double or Decimal128."""
    return type_name(value) in ("int", "long", "double", "decimal")


def as_int(value: Any) -> int | None:
    """A whole number: an integer of any size, or a double without a fraction within 2^53, where doubles are exact."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and -_SAFE <= value <= _SAFE else None
    if isinstance(value, dict) and len(value) == 1:
        text = value.get("$numberLong") or value.get("$numberInt")
        return int(text) if isinstance(text, str) else None
    return None


def as_float(value: Any) -> float | None:
    """An Int32, an Int64 (rounded where a double cannot hold it) or a Double, NaN and infinities too."""
    text = _wrapped(value, "$numberDouble")
    if isinstance(text, str):
        return float(text)
    if isinstance(value, float):
        return value
    whole = as_int(value)
    return None if whole is None else float(whole)


def as_decimal(value: Any) -> Decimal | None:
    """A Decimal128, or any other number, as a `Decimal`."""
    text = _wrapped(value, "$numberDecimal")
    if isinstance(text, str):
        try:
            return Decimal(text)
        except InvalidOperation:
            return None
    number = as_float(value)
    if number is None:
        return None
    whole = as_int(value)
    return Decimal(repr(number)) if whole is None else Decimal(whole)


def as_object_id(value: Any) -> str | None:
    """The 24 hexadecimal digits of an ObjectId."""
    digits = _wrapped(value, "$oid")
    return digits if isinstance(digits, str) else None


def as_milliseconds(value: Any) -> int | None:
    """A BSON date as milliseconds since 1970, whatever its year."""
    date = _wrapped(value, "$date")
    if isinstance(date, str):
        try:
            at = datetime.fromisoformat(date)
        except ValueError:
            return None
        return ((at if at.tzinfo else at.replace(tzinfo=timezone.utc)) - _EPOCH) // _MILLISECOND
    return as_int(date)


def as_datetime(value: Any) -> datetime | None:
    """A BSON date, in UTC. None too for a year that `datetime` does not know."""
    milliseconds = as_milliseconds(value)
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def object_id(digits: str) -> dict[str, str]:
    """An ObjectId of 24 hexadecimal digits."""
    return {"$oid": digits}


def int64(number: int) -> dict[str, str]:
    """An Int64, also where the number is small."""
    return {"$numberLong": str(number)}


def decimal128(number: Decimal | int | str) -> dict[str, str]:
    """A Decimal128."""
    return {"$numberDecimal": str(number)}


def bson_date(at: datetime | int) -> dict[str, Any]:
    """A BSON date, of a `datetime` (without a time zone it counts as UTC) or of milliseconds since 1970."""
    if isinstance(at, datetime):
        at = ((at if at.tzinfo else at.replace(tzinfo=timezone.utc)) - _EPOCH) // _MILLISECOND
    return {"$date": {"$numberLong": str(at)}}


def dumps(document: Any) -> bytes:
    """A document as Extended JSON, UTF-8."""
    try:
        text = _encode(document)
    except ValueError:
        # Rare enough to be found out by failing: a float that is no number. Anything else fails again.
        text = _encode(_without_odd_floats(document))
    # A lone surrogate is no text for the host: better a question mark.
    return text.encode(errors="replace")


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return bson_date(value)
    if isinstance(value, Decimal):
        return decimal128(value)
    if isinstance(value, UUID):
        return _binary(value.bytes, "04")
    if isinstance(value, (bytes, bytearray)):
        return _binary(value, "00")
    raise TypeError(f"a document cannot hold a {type(value).__name__}: {value!r}")


def _binary(data: bytes | bytearray, subtype: str) -> dict[str, Any]:
    return {"$binary": {"base64": base64.b64encode(data).decode(), "subType": subtype}}


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default).encode


def _without_odd_floats(value: Any, depth: int = 200) -> Any:
    if depth == 0:
        # Deeper than MongoDB stores; a document that holds itself ends here too.
        raise ValueError("a document is nested too deep")
    if isinstance(value, float) and not math.isfinite(value):
        return {"$numberDouble": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {name: _without_odd_floats(it, depth - 1) for name, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_odd_floats(it, depth - 1) for it in value]
    return value
