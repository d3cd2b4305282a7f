"""Dates as ISO 8601 writes them, read as all of tidegate's plugins read them."""

from __future__ import annotations

import re
from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()
_TEXT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(?:[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)


def parse_iso8601(text: str) -> int | None:
    """Milliseconds since 1970, or None where the text is no date.

    It reads what RFC 3339 says, and what common programs write beside that:

    - `2024-01-31T09:30:00Z`, with `z`, `t` or a space too, and with an offset: `+01:00`, `+0100` or `+01`;
    - a fraction of a second of 1 to 9 digits after `.` or `,`, cut to milliseconds; seconds may be missing;
    - no offset at all (Python's `isoformat()`), and a date alone, `2024-01-31`: both are taken as UTC;
    - a leap second, `23:59:60`, is the second after it, for BSON knows none.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3, 4, 5, 6))
    # Python's calendar has no year 0; 400 years later it is the same one.
    try:
        days = date(year + 400 if year == 0 else year, month, day).toordinal() - (146_097 if year == 0 else 0) - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or (second > 59 and (second, minute) != (60, 59)):
        return None
    fraction = int((found[7] or "0").ljust(9, "0")) // 1_000_000
    offset = int(found[9] or 0) * 60 + int(found[10] or 0)
    if int(found[9] or 0) > 23 or int(found[10] or 0) > 59:
        return None
    if found[8] == "-":
        offset = -offset
    return ((days * 24 + hour) * 60 + minute - offset) * 60_000 + second * 1000 + fraction
