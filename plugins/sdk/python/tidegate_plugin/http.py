"""HTTP requests: `from tidegate_plugin import http`. The operator must grant `http` with the hosts, and plugin.yaml says `uses: [http]`.

    response = http.get("https://api.example.com/items/7", headers={"accept": "application/json"})
    if response.ok:
        use(response.json())

A request takes wall time of the call it is made in: ask once for a batch where that can be done (`validate_batch` and its like), and
keep what was answered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import world
from .granted import interface

_host = interface("http", "http")
if _host is not None:
    from componentize_py_types import Err as _Err

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""A dict, or names and values where a name occurs twice."""

Kind = Literal["not-granted", "invalid", "unreachable", "timed-out", "too-large"]


class HttpError(Exception):
    """There is no response. A response with a status such as 404 is no error."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """
        - `not-granted`: the host, or the address it has, is not granted
        - `invalid`: it is no request
        - `unreachable`: no connection, or it broke
        - `timed-out`: it took too long
        - `too-large`: a body is larger than the operator allows
        """


@dataclass(frozen=True, slots=True)
class Response:
    """A response, whole."""

    status: int
    """Such as 200."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values, in the order in which they came."""
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text, with what is no UTF-8 replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first header of that name, in whatever case."""
        wanted = name.lower()
        return next((value for own, value in self.headers if own.lower() == wanted), None)


def get(url: str, *, headers: Headers = (), timeout: float | None = None) -> Response:
    """Sends a `GET`, as `request` does."""
    return request("GET", url, headers=headers, timeout=timeout)


def post(url: str, body: bytes | str = b"", *, headers: Headers = (), timeout: float | None = None) -> Response:
    """Sends a `POST`, as `request` does."""
    return request("POST", url, headers=headers, body=body, timeout=timeout)


def request(
    method: str, url: str, *, headers: Headers = (), body: bytes | str = b"", timeout: float | None = None
) -> Response:
    """Sends a request and waits for the whole response, whatever its status. Redirects are not followed.

    Text goes as UTF-8. `timeout` is in seconds, for all of it; None: what the operator allows. Raises `HttpError` where there is
    no response.
    """
    if _host is None:
        return _given(method, url)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    sent = _host.Request(
        _text(method),
        _text(url),
        [_host.Header(_text(name), _text(value)) for name, value in pairs],
        body.encode(errors="replace") if isinstance(body, str) else bytes(body),
        None if timeout is None else min(max(math.ceil(timeout * 1000), 0), 0xFFFF_FFFF),
    )
    try:
        got = _host.send(sent)
    except _Err as error:
        raise HttpError(_KINDS[type(error.value).__name__], error.value.value) from None
    return Response(got.status, tuple((it.name, it.value) for it in got.headers), got.body)


_KINDS: dict[str, Kind] = {
    "Failure_NotGranted": "not-granted",
    "Failure_Invalid": "invalid",
    "Failure_Unreachable": "unreachable",
    "Failure_TimedOut": "timed-out",
    "Failure_TooLarge": "too-large",
}


def _text(text: str) -> str:
    # A lone surrogate would end the instance: better a question mark.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _given(method: str, url: str) -> Response:
    answer = world.current.answers.get((method, url))
    if answer is None:
        raise HttpError("not-granted", f"no answer is given for {method} {url}")
    if isinstance(answer, HttpError):
        raise answer
    return answer
