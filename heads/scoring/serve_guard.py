"""What the page of `serve` lets in: its own pages' requests, and files, never addresses of files elsewhere.

A web site that somebody visits can send requests to this machine, also under a name of its own that it lets
point here.  So the Host of every request must be a name of this machine, its Origin the page itself.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LOCAL = "127.0.0.1"
LOCAL_NAMES = frozenset({LOCAL, "localhost", "::1"})
ANY = frozenset({"0.0.0.0", "::"})
"""Addresses that stand for all of the machine's."""
MAX_JSON_BYTES = 1 << 20
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
"""How a text begins that names a file on another machine (or, as file:/, on this one)."""
UPLOAD = "/upload"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application around that of the page: 403 for what the page would not ask for.

    Parameters
    ----------
    app
        The page's.
    folder
        Where uploads are written; what a broken-off one leaves directly in it is removed.
    address
        What the page listens on.
    """

    def __init__(self, app: App, folder: Path, address: str = LOCAL) -> None:
        self.app, self.folder, self.address = app, folder, address
        self.uploads = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        if reason := refusal(headers, _target(scope), self.address):
            return await _refuse(scope, send, reason)
        if scope["type"] == "http" and scope["method"] == "POST":
            if scope["path"].endswith(UPLOAD):
                return await self._upload(scope, receive, send)
            return await self._post(scope, receive, send, headers)
        return await self.app(scope, receive, send)

    async def _upload(self, scope: Message, receive: Receive, send: Send) -> None:
        self.uploads += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.uploads -= 1
            if not self.uploads:  # whole uploads are in folders of their own by now
                with suppress(OSError):  # somebody may tidy the folder up, or away
                    for path in self.folder.iterdir():
                        if path.is_file():
                            path.unlink(missing_ok=True)

    async def _post(self, scope: Message, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_JSON_BYTES:
                return await _refuse(scope, send, f"more than {MAX_JSON_BYTES} bytes")
        try:
            given = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return await _refuse(scope, send, "not JSON")
        if reason := address_in(given, headers["host"]):
            return await _refuse(scope, send, reason)
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)


def refusal(headers: dict[str, str], target: str, address: str = LOCAL) -> str:
    """Why a request with these headers (names in small letters) is refused; "" where it is not."""
    host = headers.get("host", "")
    if not _is_here(host, address):
        return f"the host {host!r} is not this machine"
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return f"the page {origin!r} is not this one"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
        headers.get("sec-fetch-mode") == "navigate" and target.partition("?")[0] == "/"
    ):
        return "another page asks"
    if "://" in target or "file=http" in target.lower():
        return "addresses are not looked up"
    return ""


def address_in(given: object, host: str) -> str:
    """Why JSON is refused that has an address where a file belongs; the page's own files have one too."""
    own = tuple(f"{scheme}://{host}/" for scheme in ("http", "https"))
    left = [given]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and ADDRESS.match(value) and not value.startswith(own):
            return f"{value[:80]!r} is an address, and addresses are not looked up; upload the file"
    return ""


def _is_here(host: str, address: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in LOCAL_NAMES or name == address.lower():
        return True
    if address not in ANY:
        return False
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name == socket.gethostname().lower()


def _target(scope: Message) -> str:
    return unquote(unquote(f"{scope['path']}?{scope.get('query_string', b'').decode('latin-1')}"))


async def _refuse(scope: Message, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"refused: {reason}\n".encode()})
