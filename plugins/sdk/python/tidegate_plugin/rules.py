"""What is asked of the fields of a document, and the violations in words that are the same in every language.

    ORDER = Rules(required("id", STRING), optional("amount", integer_from(0)))
    ORDER.check({"amount": -3})   # id is missing; amount must be an integer of at least 0, is -3
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .change import Document
from .extended_json import as_float, as_int, is_date, is_number, is_object_id, type_name
from .iso8601 import parse_iso8601
from .results import Violation

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Type:
    """What a field's value may be."""

    what: str
    """To be read after the field's name: `must be a string`."""
    fits: Callable[[Any], bool]
    shows: str = ""
    """Which values a message shows, rather than their type alone: `text`, `number` or none."""

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a value."""
        return None if self.fits(value) else f"{self.what}, is {self._shown(value)}"

    def _shown(self, value: Any) -> str:
        if self.shows == "text" and isinstance(value, str):
            return quoted(value)
        if self.shows == "number":
            whole = as_int(value)
            if whole is not None:
                return str(whole)
            number = as_float(value)
            if number is not None:
                return _plain(number)
        return type_name(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_iso8601(value: Any) -> bool:
    return isinstance(value, str) and parse_iso8601(value) is not None


STRING = Type("must be a string", _is_text)
INTEGER = Type("must be an integer", lambda value: as_int(value) is not None, "number")
"""An Int32, an Int64, or a double without a fraction."""
NUMBER = Type("must be a number", is_number)
BOOLEAN = Type("must be a boolean", lambda value: isinstance(value, bool))
DATE = Type("must be a date", is_date)
"""A BSON date."""
ISO8601 = Type("must be a date and time in ISO 8601 text", _is_iso8601, "text")
DATE_OR_ISO8601 = Type(
    "must be a date or a date and time in ISO 8601 text", lambda value: is_date(value) or _is_iso8601(value), "text"
)
OBJECT_ID = Type("must be an ObjectId", is_object_id)
DOCUMENT = Type("must be a document", lambda value: type_name(value) == "object")
ARRAY = Type("must be an array", lambda value: isinstance(value, list))


def integer_from(least: int) -> Type:
    """A whole number, this one at least."""

    def fits(value: Any) -> bool:
        whole = as_int(value)
        return whole is not None and whole >= least

    return Type(f"must be an integer of at least {least}", fits, "number")


def one_of(*words: str) -> Type:
    """Text, one of these."""
    return Type(f"must be one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words, "text")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a document and what is asked of it."""

    path: str
    """Its name, or names with dots between them."""
    type: Type
    required: bool


def required(path: str, type: Type) -> Field:
    """A field that must be there."""
    return Field(path, type, True)


def optional(path: str, type: Type) -> Field:
    """A field that may be absent. Null is not absent."""
    return Field(path, type, False)


class Rules:
    """What is asked of a kind of document. Fields that are not named pass."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields

    def and_(self, *fields: Field) -> Rules:
        """These rules and more fields."""
        return Rules(*self.fields, *fields)

    def with_(self, path: str, field: Field) -> Rules:
        """These rules with another field in the place of one, as a newer version of a schema has it."""
        if all(it.path != path for it in self.fields):
            raise ValueError(f"there is no field {path} to be replaced")
        return Rules(*(field if it.path == path else it for it in self.fields))

    def check(self, document: Document) -> list[Violation]:
        """Everything that is wrong with the document, in the order of the rules."""
        violations = []
        for field in self.fields:
            value = document.get(field.path, _ABSENT)
            if value is _ABSENT and "." in field.path:
                value = at_path(document, field.path, _ABSENT)
            if value is _ABSENT:
                if field.required:
                    violations.append(Violation(field.path, "is missing"))
            elif not field.type.fits(value):
                violations.append(Violation(field.path, field.type.complaint(value) or ""))
        return violations


def at_path(document: Document, path: str, absent: Any = None) -> Any:
    """The value at names with dots between them; a number is a place in an array."""
    value: Any = document
    for name in path.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return absent
    return value


def quoted(text: str, whole: bool = False) -> str:
    """Text in quotes, with escapes for what is not seen; cut where it is long, since messages end up in logs, unless the
    whole text is asked for."""
    short = text if whole else text[:40]
    dots = "..." if len(short) < len(text) else ""
    return f'"{"".join(map(_escaped, short))}"{dots}'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
# Characters that join the one before them and are no marks (categories Mn and Me).
_JOINING = frozenset(
    int(code, 16)
    for code in (
        "9be 9d7 b3e b57 bbe bd7 cc0 cc2 cc7 cc8 cca ccb cd5 cd6 d3e d57 dcf ddf 1715 1734 1b35 1b3b 1b3d 1b43 1b44 1baa "
        "1bf2 1bf3 302e 302f a953 a9c0 ff9e ff9f 111c0 11235 1133e 1134d 11357 113b8 113c2 113c5 113c7 113c8 113c9 113cf "
        "114b0 114bd 115af 116b6 11930 1193d 11f41 16ff0 16ff1 1d165 1d166 1d16d 1d16e 1d16f 1d170 1d171 1d172"
    ).split()
)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    code = ord(character)
    joins = code in _JOINING or unicodedata.category(character) in ("Mn", "Me")
    return character if character.isprintable() and not joins else f"\\u{{{code:x}}}"


def _plain(number: float) -> str:
    """A number without an exponent, in as few digits as tell it from all others."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "inf" if number > 0 else "-inf"
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")
