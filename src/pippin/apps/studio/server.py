"""Server: serves the studio on the loopback address and refuses what other sites' pages ask of it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ...errors import ConfigurationError
from ...support.units import format_bytes

HOST = "127.0.0.1"
_MISSING = "pippin studio needs the optional packages: pip install 'pippin[studio]'"
# The browser blocks every request to another host. 'unsafe-eval' is needed because Vue compiles templates at run time.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:;"
    " frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_SOCKET = "/_nicegui_ws/"
MAX_UPLOAD = 2 << 30
"""Bytes of a file that can be uploaded."""
_FORM = 1 << 16  # bytes of a form around its file


def serve(model: Path | None, port: int, ready: Callable[[str], object]) -> None:
    """Serve the page until interrupted; `ready` is called with its address. Port 0 picks a free port.

    Raises ConfigurationError if the extra is not installed or the port is in use.
    """
    try:
        import uvicorn

        from .page import application
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{_MISSING} ({error.name} is missing)") from None
    listening = _listen(port)
    with listening:
        number = listening.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                Guard(application(), number), log_level="error", ws_max_size=64 << 20, timeout_graceful_shutdown=1
            )
        )
        query = f"model?{urlencode({'path': str(model.absolute())})}" if model is not None else ""
        ready(f"http://{HOST}:{number}/{query}")
        server.run(sockets=[listening])


class Guard:
    """ASGI middleware that answers only this machine's own page.

    It rejects a foreign Host (DNS rebinding), a foreign Origin, and what other sites' pages cause by Sec-Fetch-Site:
    links and frames as much as requests. The page's socket, and whatever is not a plain read, must also carry the
    cookie that the page set: it is new for each server and never sent along by other sites. The body of a request is
    limited. Every response has the content security policy.
    """

    def __init__(self, application: Any, port: int) -> None:
        self._application = application
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._cookie = f"pippin-studio-{port}"  # cookies are shared between the ports of a host
        self._token = secrets.token_urlsafe()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
            return

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS, *self._token_header(headers)]}
            await send(message)

        await self._application(scope, receive, send_with_policy)

    def _refusal(self, scope: Any, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Status and reason, if the request is refused."""
        origins = (None, *(f"http://{host}" for host in self._hosts))
        if headers.get(b"host") not in self._hosts or headers.get(b"origin") not in origins:
            return 403, "only requests from this machine's own page are accepted."
        if headers.get(b"sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "another site's page led here. To open the studio, type its address in the address bar."
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if (not reads or scope["path"].startswith(_SOCKET)) and not self._has_token(headers):
            return 403, "the page that sent this is of an earlier studio; reload it."
        if not reads and scope["type"] == "http":
            length = headers.get(b"content-length", "")
            if not length.isdigit():
                return 411, "a request must state its length."
            if int(length) > MAX_UPLOAD + _FORM:
                return 413, f"at most {format_bytes(MAX_UPLOAD)} can be uploaded; type the model's path instead."
        return None

    def _has_token(self, headers: dict[bytes, str]) -> bool:
        given = _cookies(headers).get(self._cookie, "")
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _token_header(self, headers: dict[bytes, str]) -> list[tuple[bytes, bytes]]:
        if self._has_token(headers):
            return []
        return [(b"set-cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict".encode())]


def _cookies(headers: dict[bytes, str]) -> dict[str, str]:
    pairs = (pair.strip().partition("=") for pair in headers.get(b"cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


async def _refuse(scope: Any, send: Any, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"Refused: {reason}\n".encode()})


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(f"cannot listen on port {port}: {error}") from None
    listening.listen(128)
    return listening
