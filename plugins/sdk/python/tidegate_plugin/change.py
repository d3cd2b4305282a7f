"""A change, as a plugin sees it: a view into the batch it came with. Nothing is decoded that is not asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import StrEnum
from json import JSONDecoder
from typing import Any

Document = dict[str, Any]
"""A document as MongoDB's Relaxed Extended JSON v2: see `tidegate_plugin.extended_json`."""

_decode = JSONDecoder().decode
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Where the numbers of a change stand: the table in types.wit.
_ID, _OPERATION, _NAMESPACE, _KEY, _DOCUMENT, _BEFORE, _UPDATE, _CLUSTER_TIME, _WALL_TIME, _HEADERS = (
    0, 2, 3, 4, 6, 8, 10, 12, 14, 16,
)  # fmt: skip
_NOT_READ: Any = object()


class Operation(StrEnum):
    """What happened to the document."""

    INSERT = "insert"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    READ = "read"
    """It was there before the stream began, and a copy read it."""


_OPERATIONS = tuple(Operation)


class Change:
    """One change. Its documents are parsed when they are first asked for, and are yours to alter."""

    __slots__ = ("_batch", "_at", "_key", "_document", "_before", "_update", "_headers")

    def __init__(self, batch: Any, at: int) -> None:
        self._batch = batch
        self._at = at
        self._key = self._document = self._before = self._update = self._headers = _NOT_READ

    def _text(self, place: int) -> str:
        batch = self._batch
        at = self._at + place
        offset, length = batch.changes[at], batch.changes[at + 1]
        return str(batch.arena[offset : offset + length], "utf-8")

    def _parse(self, place: int) -> Any:
        text = self._text(place)
        return _decode(text) if text else None

    def _wide(self, place: int) -> int:
        numbers, at = self._batch.changes, self._at + place
        return numbers[at] | numbers[at + 1] << 32

    @property
    def id(self) -> str:
        """The same after a restart, and the correlation id of all log lines."""
        return self._text(_ID)

    @property
    def operation(self) -> Operation:
        """What happened."""
        number = self._batch.changes[self._at + _OPERATION]
        # A later version of the contract may have more; they count as updates.
        return _OPERATIONS[number] if number < len(_OPERATIONS) else Operation.UPDATE

    @property
    def database(self) -> str:
        """Name of the database."""
        return self._batch.namespaces[self._batch.changes[self._at + _NAMESPACE]].database

    @property
    def collection(self) -> str:
        """Name of the collection, which may have dots in it."""
        return self._batch.namespaces[self._batch.changes[self._at + _NAMESPACE]].collection

    @property
    def namespace(self) -> str:
        """`database.collection`."""
        return f"{self.database}.{self.collection}"

    @property
    def key(self) -> Document:
        """The whole document key: `_id`, and the fields of the shard key where there is one."""
        if self._key is _NOT_READ:
            self._key = self._parse(_KEY) or {}
        return self._key

    @property
    def document(self) -> Document | None:
        """The document after the change. A delete has none, nor has an update whose document was gone when it was looked up."""
        if self._document is _NOT_READ:
            self._document = self._parse(_DOCUMENT)
        return self._document

    @property
    def document_text(self) -> str | None:
        """The document as the JSON text it came as."""
        return self._text(_DOCUMENT) or None

    @property
    def before(self) -> Document | None:
        """The document before the change, where the source was asked for it."""
        if self._before is _NOT_READ:
            self._before = self._parse(_BEFORE)
        return self._before

    @property
    def update(self) -> Document | None:
        """The source's description of an update (MongoDB's `updateDescription`)."""
        if self._update is _NOT_READ:
            self._update = self._parse(_UPDATE)
        return self._update

    @property
    def cluster_time(self) -> int | None:
        """The source's logical time: seconds since 1970 in the upper 32 bits, a counter in the lower."""
        return self._wide(_CLUSTER_TIME) or None

    @property
    def wall_time(self) -> datetime | None:
        """When it happened by the server's clock, in UTC. None too for a year that `datetime` does not know."""
        milliseconds = self._wide(_WALL_TIME)
        if not milliseconds:
            return None
        if milliseconds >= 1 << 63:
            milliseconds -= 1 << 64
        try:
            return _EPOCH + timedelta(milliseconds=milliseconds)
        except OverflowError:
            return None

    @property
    def headers(self) -> dict[str, str]:
        """What the source or earlier stages noted, such as `schema_version`."""
        if self._headers is _NOT_READ:
            batch = self._batch
            first, count = batch.changes[self._at + _HEADERS : self._at + _HEADERS + 2]
            headers: dict[str, str] = {}
            for at in range(first * 4, (first + count) * 4, 4):
                name, name_length, value, value_length = batch.headers[at : at + 4]
                # Of two with one name the first counts.
                headers.setdefault(
                    str(batch.arena[name : name + name_length], "utf-8"),
                    str(batch.arena[value : value + value_length], "utf-8"),
                )
            self._headers = headers
        return self._headers

    def __repr__(self) -> str:
        return f"Change(id={self.id!r}, operation={self.operation.value!r}, namespace={self.namespace!r}, key={self.key!r})"


def changes_of(batch: Any) -> list[Change]:
    """The changes of a batch as it came."""
    return [Change(batch, at) for at in range(0, len(batch.changes), batch.stride)]
