"""Asks the host for what a document names, and writes what it got into the field `answer`: see asker/src/lib.rs."""

from typing import Any

from tidegate_plugin import (
    Change,
    Document,
    Manifest,
    Migration,
    Migrator,
    as_int,
    clock,
    environment,
    export,
    failed,
    http,
    int64,
    migrated,
    random,
    unchanged,
)


class Asker(Migrator):
    manifest = Manifest(
        name="conformance-asker",
        version="0.1.0",
        description="Asks the host for what a document names, and writes the answer into the document",
    )

    def migrate(self, change: Change) -> Migration:
        document = change.document
        if document is None:
            return unchanged("answered")
        ask = text_of(document.get("ask"))
        match ask:
            case "clock":
                answer: Any = int64(clock.milliseconds())
            case "random":
                answer = random.bytes(count_of(document.get("count")) or 0).hex()
            case "environment":
                answer = environment.get(text_of(document.get("name")))
            case "http":
                answer = asked(document)
            case _:
                return failed(f"`ask: {ask}` is nothing that can be asked for")
        return migrated(document | {"answer": answer}, "asked", "answered")


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int | None:
    """What Rust takes for a `u32`."""
    count = as_int(value)
    return count if count is not None and 0 <= count < 1 << 32 else None


def asked(document: Document) -> Document:
    headers = document.get("headers")
    timeout = count_of(document.get("timeout"))
    try:
        response = http.request(
            text_of(document.get("method")),
            text_of(document.get("url")),
            headers={name: text_of(value) for name, value in headers.items()} if isinstance(headers, dict) else (),
            body=text_of(document.get("body")),
            timeout=None if timeout is None else timeout / 1000,
        )
    except http.HttpError as error:
        return {"error": error.kind, "why": str(error)}
    return {"status": response.status, "headers": dict(response.headers), "body": response.text}


export(Asker)
