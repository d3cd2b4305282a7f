"""Changes made by hand, for tests in plain Python.

    plugin = configure(StockRules, {"minimum": 1})
    assert plugin.validate(insert("shop.inventory", {"_id": 1, "quantity": 0})) == reject("quantity", "is 0, less than 1")

What an operator would grant, a test gives; what it does not give is not there, and the clock stands still at 2024-01-01:

    with given(env={"REGION": "eu"}, http={("GET", "https://api.example.com/items/7"): http.Response(200, body=b"{}")}):
        plugin.validate(...)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, TypeVar

from . import world
from .change import Change, Document, Operation
from .extended_json import dumps
from .roles import Plugin

P = TypeVar("P", bound=Plugin)


def configure(plugin: type[P], config: dict[str, Any] | None = None) -> P:
    """An instance, configured as the host does it."""
    instance = plugin()
    instance.configure(config or {})
    return instance


@contextmanager
def given(
    *,
    clock: datetime | None = None,
    env: Mapping[str, str] | None = None,
    http: Mapping[tuple[str, str], Any] | None = None,
) -> Iterator[None]:
    """What the plugin gets inside of the `with`: the time at which the clock stands (without a time zone it counts as UTC), variables of
    the environment, and by method and URL an `http.Response`, or an `http.HttpError` to be raised."""
    before = world.current
    world.current = world.World(variables=dict(env or {}), answers=dict(http or {}))
    if clock is not None:
        at = clock if clock.tzinfo else clock.replace(tzinfo=timezone.utc)
        world.current.milliseconds = (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)
    try:
        yield
    finally:
        world.current = before


def change(
    operation: Operation,
    namespace: str,
    document: Document | None = None,
    *,
    id: str = "test",
    key: Document | None = None,
    before: Document | None = None,
    update: Document | None = None,
    cluster_time: int = 0,
    wall_time: int = 0,
    headers: dict[str, str] | None = None,
) -> Change:
    """A change, laid out as the host does it. Its key is the `_id` of its document unless another is given; `wall_time` is
    in milliseconds since 1970."""
    arena = bytearray()

    def span(data: bytes) -> list[int]:
        arena.extend(data)
        return [len(arena) - len(data), len(data)]

    def written(document: Document | None) -> list[int]:
        return [0, 0] if document is None else span(dumps(document))

    if key is None and document is not None and "_id" in document:
        key = {"_id": document["_id"]}
    numbers = [*span(id.encode()), list(Operation).index(operation), 0]
    for part in (key, document, before, update):
        numbers += written(part)
    for time in (cluster_time, wall_time):
        numbers += [time & 0xFFFF_FFFF, time >> 32 & 0xFFFF_FFFF]
    numbers += [0, len(headers or {})]
    spans = [number for pair in (headers or {}).items() for text in pair for number in span(text.encode())]
    database, _, collection = namespace.partition(".")
    namespaces = [SimpleNamespace(database=database, collection=collection)]
    batch = SimpleNamespace(
        arena=bytes(arena), namespaces=namespaces, headers=spans, stride=len(numbers), changes=numbers
    )
    return Change(batch, 0)


def insert(namespace: str, document: Document, **more: Any) -> Change:
    """An insert; `more` is as for `change`."""
    return change(Operation.INSERT, namespace, document, **more)


def update(namespace: str, document: Document | None, **more: Any) -> Change:
    """An update; `more` is as for `change`."""
    return change(Operation.UPDATE, namespace, document, **more)


def delete(namespace: str, key: Document, **more: Any) -> Change:
    """A delete; `more` is as for `change`."""
    return change(Operation.DELETE, namespace, None, key=key, **more)
