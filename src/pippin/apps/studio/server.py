"""Server: serves the studio on the loopback address and rejects cross-origin requests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"
_MISSING = "pippin studio needs the optional packages: pip install 'pippin[studio]'"
# The browser blocks every request to another host. 'unsafe-eval' is needed because Vue compiles templates at run time.
_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"


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
    """ASGI middleware that rejects requests with a foreign Host or Origin, such as DNS rebinding and requests made by
    other sites' pages. Adds the content security policy to every response."""

    def __init__(self, application: FastAPI, port: int) -> None:
        self._application = application
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_ours(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send(
                {
                    "type": "http.response.body",
                    "body": b"Forbidden: only requests from this machine's own page are accepted.",
                }
            )
            return

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (b"content-security-policy", _POLICY.encode())]
                message = {**message, "headers": [*headers, (b"referrer-policy", b"no-referrer")]}
            await send(message)

        await self._application(scope, receive, send_with_policy)

    def _is_ours(self, scope: Any) -> bool:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin")
        return headers.get(b"host") in self._hosts and (origin is None or urlsplit(origin).netloc in self._hosts)


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
