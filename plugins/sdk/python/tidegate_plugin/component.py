"""From the classes the component is made of to a plugin's methods."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from . import log
from .change import changes_of
from .extended_json import dumps
from .results import Destination, Failed, Migrated, Output, Unchanged
from .roles import ConfigError, Migrator, Plugin, Router, Transformer, Validator

try:
    # Made by componentize-py for the roles of this one plugin: those it has not are not there.
    from componentize_py_types import Err
    from wit_world import exports as _exports
    from wit_world.imports import types as _types
except ImportError:
    # Plain Python, as in tests.
    _exports = None


def export(plugin: type[Plugin]) -> type[Plugin]:
    """Makes the component export this plugin: the last line of its file. In plain Python it only checks the class.

    What componentize-py looks for, the classes `Plugin`, `Documents`, `Validator` and so on, is put into the plugin's
    own module; its names for the classes of this package are then taken, and no longer needed.
    """
    roles = [role for role in _ADAPTERS if issubclass(plugin, role)]
    if not roles:
        raise TypeError(f"{plugin.__name__} has no role: derive it from Validator, Migrator, Router or Transformer")
    if not hasattr(plugin, "manifest"):
        raise TypeError(f"{plugin.__name__} has no manifest: give it `manifest = Manifest(name=..., version=...)`")
    if _exports is None:
        return plugin
    holder = _Holder(plugin)
    names = {"Plugin": _base(holder), "Documents": _documents()}
    for role in roles:
        names[role.__name__] = _adapter(holder, *_ADAPTERS[role])
    vars(sys.modules[plugin.__module__]).update(names)
    return plugin


class _Holder:
    def __init__(self, plugin: type[Plugin]) -> None:
        self.plugin = plugin
        self.instance: Any = None

    def run(self, method: str, encode: Callable[..., Any], batch: Any) -> Any:
        if self.instance is None:
            log.error("a batch came before the configuration: the host must call `configure` first")
            raise RuntimeError("not configured")
        changes = changes_of(batch)
        try:
            return encode(getattr(self.instance, method)(changes), changes)
        except BaseException as error:
            # All the host sees is a trap: without this the reason is lost.
            log.error(_told(error))
            raise


def _told(error: BaseException) -> str:
    """The error and where it was raised. The module traceback would look for the source, and there are no files here."""
    lines = [f"{type(error).__name__}: {error}"]
    at = error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        lines.append(f"  {code.co_filename.rpartition('/')[2]}:{at.tb_lineno} in {code.co_qualname}")
        at = at.tb_next
    return "\n".join(lines)


def _base(holder: _Holder) -> type:
    class Base:
        def manifest(self) -> Any:
            manifest = holder.plugin.manifest
            schema = manifest.config_schema
            return _exports.plugin.PluginManifest(
                manifest.name, manifest.version, manifest.description, None if schema is None else json.dumps(schema)
            )

        def configure(self, config: str) -> None:
            try:
                instance = holder.plugin()
                instance.configure(json.loads(config))
            except ConfigError as error:
                raise Err(_text(str(error))) from error
            except Exception as error:
                log.error(_told(error))
                raise Err(_text(f"{type(error).__name__}: {error}")) from error
            holder.instance = instance

    return Base


def _documents() -> type:
    class Documents:
        def encoding(self) -> Any:
            return _exports.documents.Form.JSON

    return Documents


def _adapter(holder: _Holder, name: str, encode: Callable[..., Any]) -> type:
    def run(self: Any, batch: Any) -> Any:
        return holder.run(f"{name}_batch", encode, batch)

    return type(name, (), {name: run})


def _text(text: str) -> str:
    # A lone surrogate would end the instance: better a question mark.
    return text if text.isascii() else text.encode(errors="replace").decode()


class _Arena:
    """Gathers the bytes of a result."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.absent = _types.Span(0, 0)

    def bytes(self, part: bytes) -> Any:
        span = _types.Span(self.size, len(part))
        self.parts.append(part)
        self.size += len(part)
        return span

    def text(self, text: str | None) -> Any:
        return self.bytes(text.encode(errors="replace")) if text else self.absent

    def document(self, document: dict[str, Any] | None) -> Any:
        if document is None:
            return self.absent
        if not isinstance(document, dict):
            raise TypeError(f"a document is a dict, not {document!r}")
        return self.bytes(dumps(document))

    def headers(self, headers: dict[str, str], into: list[Any]) -> Any:
        first = len(into)
        for name, value in headers.items():
            if name and value:
                into.append(_types.Header(self.text(name), self.text(value)))
        return _types.Range(first, len(into) - first)

    def joined(self) -> bytes:
        return b"".join(self.parts)


def _wrong(method: str, result: Any, allowed: str) -> TypeError:
    return TypeError(f"{method} returned {result!r}, not {allowed}")


def _verdicts(verdicts: list[Any], _: Any) -> list[Any]:
    raw = _exports.validator
    accept = raw.Verdict_Accept()
    out = []
    for verdict in verdicts:
        if not verdict and (verdict is None or isinstance(verdict, list)):
            out.append(accept)
        elif isinstance(verdict, list):
            out.append(raw.Verdict_Reject([raw.Violation(_text(it.path), _text(it.message)) for it in verdict]))
        else:
            raise _wrong("validate", verdict, "a list of violations or None")
    return out


def _outcomes(migrations: list[Any], _: Any) -> Any:
    raw, arena = _exports.migrator, _Arena()
    out = []
    for it in migrations:
        if isinstance(it, Unchanged):
            out.append(raw.Outcome_Unchanged(arena.text(it.version)))
        elif isinstance(it, Migrated):
            document = arena.document(it.document)
            migration = raw.Migration(document, arena.text(it.from_version), arena.text(it.to_version))
            out.append(raw.Outcome_Migrated(migration))
        elif isinstance(it, Failed):
            out.append(raw.Outcome_Failed(_text(it.reason)))
        else:
            raise _wrong("migrate", it, "migrated(...), unchanged(...) or failed(...)")
    return raw.MigratedBatch(arena.joined(), out)


def _decisions(routings: list[Any], _: Any) -> Any:
    raw, arena = _exports.router, _Arena()
    attributes: list[Any] = []
    destinations: list[Any] = []
    out = []
    for routing in routings:
        if isinstance(routing, Failed):
            out.append(raw.Decision_Failed(_text(routing.reason)))
            continue
        routes = routing if isinstance(routing, list) else [routing]
        first = len(destinations)
        for to in routes:
            if not isinstance(to, Destination):
                raise _wrong("route", to, "a Destination, a list of them or failed(...)")
            ends = arena.text(to.sink), arena.text(to.target), arena.text(to.ordering_key)
            destinations.append(raw.Destination(*ends, arena.headers(to.attributes, attributes)))
        out.append(raw.Decision_Deliver(_types.Range(first, len(routes))))
    return raw.RoutedBatch(arena.joined(), attributes, destinations, out)


def _results(transformations: list[Any], changes: list[Any]) -> Any:
    raw, arena = _exports.transformer, _Arena()
    namespaces: dict[tuple[str, str], int] = {}
    headers: list[Any] = []
    outputs: list[Any] = []
    out = []
    for transformation, change in zip(transformations, changes):
        if isinstance(transformation, Unchanged):
            out.append(raw.ResultOfChange_Unchanged())
            continue
        if isinstance(transformation, Failed):
            out.append(raw.ResultOfChange_Failed(_text(transformation.reason)))
            continue
        others = transformation if isinstance(transformation, list) else [transformation]
        first = len(outputs)
        for it in others:
            if not isinstance(it, Output):
                raise _wrong("transform", it, "an Output, a list of them, unchanged() or failed(...)")
            namespace = (it.database or change.database, it.collection or change.collection)
            operation = change.operation if it.operation is None else it.operation
            outputs.append(
                raw.Output(
                    _types.Operation[operation.name],
                    namespaces.setdefault(namespace, len(namespaces)),
                    arena.document(it.key),
                    arena.document(it.document),
                    arena.headers(it.headers, headers),
                )
            )
        out.append(raw.ResultOfChange_Changes(_types.Range(first, len(others))))
    names = [_types.Namespace(_text(database), _text(collection)) for database, collection in namespaces]
    return raw.TransformedBatch(arena.joined(), names, headers, outputs, out)


_ADAPTERS: dict[type, tuple[str, Callable[..., Any]]] = {
    Validator: ("validate", _verdicts),
    Migrator: ("migrate", _outcomes),
    Router: ("route", _decisions),
    Transformer: ("transform", _results),
}
