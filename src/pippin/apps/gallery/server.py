"""Gallery server: a local web page. Each tile is one HTTP request; aborting the request cancels its prediction.

A browser opens at most six connections per address, and a screen has more tiles than that. The page therefore spreads
its requests over several loopback addresses of the same server. All code here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ... import trace
from ...devices.cpu import cores
from ...errors import ConfigurationError
from ...trace.sampler import resident_bytes
from .colorizer import Async, Counted, Serial
from .cut_tiles import Tile, gray_file, jpeg, tiles

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
HOST = "127.0.0.1"
ADDRESSES = (HOST, *(f"127.0.0.{n}" for n in range(2, 8)))
MOST_IN_FLIGHT = 16
_CLIENT_DISCONNECTED = 499  # status that servers log if the client closed the request
_KEPT_EVENTS = 200_000


class Gallery:
    """Holds the colorizers, the figures, and the trace that is recorded while the server runs."""

    def __init__(self) -> None:
        self.tiles = tiles()
        self.tracing = trace.record(limit=_KEPT_EVENTS)
        self.max_in_flight = cores()
        self.counted: Counted
        self.addresses: list[str] = [HOST]
        self._made: dict[object, Counted] = {}
        self._making = asyncio.Lock()

    async def use(self, mode: str, max_in_flight: int) -> None:
        """Select the colorizer for new requests and reset the counts. Requests under way continue."""
        key: object = mode if mode == "serial" else max_in_flight
        async with self._making:
            if key not in self._made:
                make: Callable[[], Any] = Serial if mode == "serial" else lambda: Async(max_in_flight)
                self._made[key] = Counted(await asyncio.to_thread(make))
            self.counted, self.max_in_flight = self._made[key], max_in_flight
            self.counted.reset()

    def figures(self) -> dict[str, Any]:
        return asdict(self.counted.counts) | {
            "mode": self.counted.colorizer.mode,
            "max_in_flight": self.max_in_flight,
            "per_second": self.counted.per_second(),
            "in_flight": self.counted.in_flight(),
            "cancelled_predictions": self.counted.cancelled_predictions(),
            "memory": resident_bytes(),
        }

    def close(self) -> None:
        self.tracing.stop()
        for counted in self._made.values():
            counted.colorizer.close()


def application(addresses: list[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.gallery = gallery = Gallery()
        gallery.addresses = addresses
        gallery.tracing.start()
        await gallery.use("async", gallery.max_in_flight)
        developing = asyncio.create_task(_develop(gallery.tiles))
        try:
            yield
        finally:
            developing.cancel()
            gallery.close()

    return Starlette(
        routes=[
            Route("/", _index),
            Route("/setup.json", _setup),
            Route("/figures.json", _figures),
            Route("/control", _control, methods=["POST"]),
            Route("/tile/{number:int}/gray.jpg", _gray),
            Route("/tile/{number:int}/photo.jpg", _photo),
            Route("/tile/{number:int}/colorized.jpg", _colorized),
            Route("/trace.json", _trace),
            Route("/trace-summary.json", _trace_summary),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        # Rejects other host names that resolve to this machine (DNS rebinding).
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[*ADDRESSES, "localhost"])],
        lifespan=lifespan,
    )


async def _develop(wall: tuple[Tile, ...]) -> None:
    """Encode the gray files in the background, before they scroll into view."""
    for tile in wall:
        await asyncio.to_thread(gray_file, tile)


def _gallery(request: Request) -> Gallery:
    gallery: Gallery = request.app.state.gallery
    return gallery


async def _index(request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def _setup(request: Request) -> Response:
    gallery = _gallery(request)
    described = [
        {
            "number": tile.number,
            "title": tile.photo.title,
            "credit": tile.photo.credit,
            "licence": tile.photo.licence,
            "held_out": tile.held_out,
        }
        for tile in gallery.tiles
    ]
    return JSONResponse(
        {
            "tiles": described,
            "addresses": gallery.addresses[1:] or gallery.addresses,  # the first one is reserved for the page itself
            "most_in_flight": MOST_IN_FLIGHT,
            "cores": cores(),
        }
    )


async def _figures(request: Request) -> Response:
    return JSONResponse(_gallery(request).figures(), headers={"Cache-Control": "no-store"})


async def _control(request: Request) -> Response:
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return JSONResponse({"error": "only the gallery's own page may change its settings"}, 403)
    try:
        wanted = await request.json()
        mode, most = wanted["mode"], wanted["max_in_flight"]
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": "mode and max_in_flight are required"}, 400)
    if mode not in ("serial", "async") or type(most) is not int or not 1 <= most <= MOST_IN_FLIGHT:
        message = f"mode must be 'serial' or 'async', max_in_flight an integer from 1 to {MOST_IN_FLIGHT}"
        return JSONResponse({"error": message}, 400)
    await _gallery(request).use(mode, most)
    return await _figures(request)


def _tile(request: Request) -> Tile | None:
    number, wall = request.path_params["number"], _gallery(request).tiles
    return wall[number] if number < len(wall) else None


_ABSENT = "no such tile"


async def _gray(request: Request) -> Response:
    tile = _tile(request)
    if tile is None:
        return Response(_ABSENT, 404)
    return _picture(gray_file(tile))  # already encoded, except in the first second


async def _photo(request: Request) -> Response:
    tile = _tile(request)
    if tile is None:
        return Response(_ABSENT, 404)
    return _picture(await asyncio.to_thread(lambda: jpeg(tile.open())))


def _picture(file: bytes) -> Response:
    return Response(file, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})


async def _colorized(request: Request) -> Response:
    tile = _tile(request)
    if tile is None:
        return Response(_ABSENT, 404)
    work = asyncio.create_task(_gallery(request).counted.colorize(tile))
    disconnected = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((work, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            return Response(status_code=_CLIENT_DISCONNECTED)
        return Response(
            work.result(),
            media_type="image/jpeg",
            headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": _origin(request)},
        )
    finally:
        disconnected.cancel()
        work.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _origin(request: Request) -> str:
    """Return the origin of the page, whichever address served the tile."""
    return f"http://{HOST}:{request.url.port}"


async def _trace(request: Request) -> Response:
    file = await asyncio.to_thread(lambda: _written(_gallery(request).tracing, Path.read_bytes))
    headers = {"Content-Disposition": 'attachment; filename="gallery-trace.json"', "Cache-Control": "no-store"}
    return Response(file, media_type="application/json", headers=headers)


async def _trace_summary(request: Request) -> Response:
    from ...trace.summary import summarize

    found = await asyncio.to_thread(lambda: _written(_gallery(request).tracing, summarize))
    return JSONResponse(found.plain(), headers={"Cache-Control": "no-store"})


def _written(tracing: trace.Recording, read: Callable[[Path], T]) -> T:
    with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        path = Path(folder) / "trace.json"
        tracing.write(path)
        return read(path)


def serve(port: int, opened: Callable[[str], object]) -> None:
    """Serve until interrupted. `port` 0 picks a free port; `opened` is called with the address of the page.

    Raises ConfigurationError if the port cannot be bound.
    """
    import uvicorn

    sockets = _sockets(port)
    port = sockets[0].getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                opened(f"http://{HOST}:{port}/")

    configuration = uvicorn.Config(
        application([f"{s.getsockname()[0]}:{port}" for s in sockets]),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="on",
    )
    try:
        with suppress(KeyboardInterrupt):
            Server(configuration).run(sockets)
    finally:
        for bound in sockets:
            bound.close()


def _sockets(port: int) -> list[socket.socket]:
    """Bind the addresses. The first one is required; others that the system refuses are skipped."""
    sockets: list[socket.socket] = []
    for address in ADDRESSES:
        one = socket.socket()
        if os.name == "posix":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, sockets[0].getsockname()[1] if sockets else port))
        except OSError as error:
            one.close()
            if not sockets:
                why = error.strerror or error
                raise ConfigurationError(f"cannot listen on {address}:{port}: {why}; choose another --port") from None
            continue
        sockets.append(one)
    return sockets
