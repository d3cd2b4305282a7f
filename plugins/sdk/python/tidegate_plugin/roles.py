"""What a plugin is: a class of one or several of these roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .change import Change
from .results import Migration, Routing, Transformation, Verdict


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a plugin says about itself."""

    name: str
    version: str
    """The plugin's own, as you count."""
    description: str = ""
    config_schema: dict[str, Any] | None = None
    """JSON Schema (draft 2020-12) of what `configure` takes; None: the plugin takes no configuration."""


class ConfigError(ValueError):
    """What is wrong with the configuration and what is allowed instead: the operator reads it."""


class Plugin:
    """What every plugin is, beside its role. An attribute lives as long as the instance: a cache, never a place for what
    must not be lost."""

    manifest: ClassVar[Manifest]

    def configure(self, config: dict[str, Any]) -> None:
        """Called once, before the first change, with the stage's `config`. Raise `ConfigError` where it is wrong."""
        if config:
            raise ConfigError(f"takes no configuration, found {', '.join(config)}")


class Validator(Plugin):
    """Says of each change whether it may pass."""

    def validate(self, change: Change) -> Verdict:
        """The host calls this for changes that have a document only."""
        raise NotImplementedError

    def validate_batch(self, changes: list[Change]) -> list[Verdict]:
        """One verdict for each change, in their order. Override it where a batch can be looked at faster as a whole."""
        return [self.validate(change) for change in changes]


class Migrator(Plugin):
    """Brings documents to another schema version."""

    def migrate(self, change: Change) -> Migration:
        """The host calls this for changes that have a document only."""
        raise NotImplementedError

    def migrate_batch(self, changes: list[Change]) -> list[Migration]:
        """One migration for each change, in their order. Override it where a batch can be migrated faster as a whole."""
        return [self.migrate(change) for change in changes]


class Router(Plugin):
    """Says where each change goes."""

    def route(self, change: Change) -> Routing:
        """Called for every change, deletes and others without a document too."""
        raise NotImplementedError

    def route_batch(self, changes: list[Change]) -> list[Routing]:
        """One routing for each change, in their order. Override it where a batch can be routed faster as a whole."""
        return [self.route(change) for change in changes]


class Transformer(Plugin):
    """Makes any change into zero or more changes."""

    def transform(self, change: Change) -> Transformation:
        """Called for every change, deletes and others without a document too."""
        raise NotImplementedError

    def transform_batch(self, changes: list[Change]) -> list[Transformation]:
        """One transformation for each change, in their order. Override it where a batch can be worked on faster as a whole."""
        return [self.transform(change) for change in changes]
