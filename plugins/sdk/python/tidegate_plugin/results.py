"""What a plugin returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from .change import Document, Operation


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a document."""

    path: str
    """Field names with dots between them; empty for the document itself."""
    message: str
    """What was expected and what was found, to be read after the path: `must be a string, is int`."""


Verdict = list[Violation] | None
"""What a validator says: nothing (None or an empty list) accepts, violations reject."""


def accept() -> list[Violation]:
    """The change goes on to the next stage."""
    return []


def reject(path: str, message: str) -> list[Violation]:
    """The change goes to the dead letter, with this reason. The path is empty for the document itself."""
    return [Violation(path, message)]


@dataclass(frozen=True, slots=True)
class Migrated:
    """Another document takes the place of the one there was."""

    document: Document
    from_version: str
    to_version: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It stays as it is, at no cost."""

    version: str | None = None
    """For migrators: the version the document has, where that is known."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The change goes to the dead letter, with this reason."""

    reason: str


def migrated(document: Document, from_version: str, to_version: str) -> Migrated:
    """The document went from one version to another."""
    return Migrated(document, from_version, to_version)


def unchanged(version: str | None = None) -> Unchanged:
    """The document, or the change, stays as it is; a migrator may say which version it has."""
    return Unchanged(version)


def failed(reason: str) -> Failed:
    """It cannot be done: the change goes to the dead letter with this reason."""
    return Failed(reason)


@dataclass(slots=True)
class Destination:
    """One place a change goes to. What is not said is left to the host: all sinks, and each sink's own target and key."""

    target: str | None = None
    """Where in the sink: a stream, a topic, a collection; None: the sink's own default."""
    sink: str | None = None
    """Name of a sink of the pipeline; None: all of them."""
    ordering_key: str | None = None
    """What must stay in order at the target, for sinks that order by key; None: the document key."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Headers of this delivery alone. Empty values are left out."""


@dataclass(slots=True)
class Output:
    """A change that takes the place of another. What is not said is taken over from that one, but for the document."""

    document: Document | None = None
    """None: no document, whatever the other change had."""
    operation: Operation | None = None
    database: str | None = None
    collection: str | None = None
    key: Document | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Beside those of the other change. Empty values are left out."""


Migration = Migrated | Unchanged | Failed
Routing = Destination | list[Destination] | Failed
"""A destination, several, or none at all (`[]`): then it is delivered nowhere, and counted as filtered."""
Transformation = Output | list[Output] | Unchanged | Failed
"""A change, several, or none at all (`[]`): then it ends here, and is counted as filtered."""
