"""Server: the gallery as a local web page. A tile is a plain request; whoever aborts it cancels its prediction.

A browser opens no more than six connections to one address, and a screen has more tiles than that: the tiles are asked
of several addresses of this machine, all of the same server. Everything here belongs to one event loop.
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
from .tiles import Tile, gray_file, jpeg, tiles

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
HOST = "127.0.0.1"
ADDRESSES = (HOST, *(f"127.0.0.{n}" for n in range(2, 8)))
MOST_IN_FLIGHT = 16
_NOBODY_READS = 499  # the status that servers log for a request whose client went away
_KEPT_EVENTS = 200_000


class Gallery:
    """The colorizers, the figures, and the trace, which is recorded as long as the server runs."""

    def __init__(self) -> None:
        self.tiles = tiles()
        self.tracing = trace.record(limit=_KEPT_EVENTS)
        self.max_in_flight = cores()
        self.counted: Counted
        self.addresses: list[str] = [HOST]
        self._made: dict[object, Counted] = {}
        self._making = asyncio.Lock()

    async def use(self, mode: str, max_in_flight: int) -> None:
        """Choose the colorizer for what is asked from now on, and count from zero. What is under way goes on."""
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
        # A page of another name that resolves to this machine gets nothing.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[*ADDRESSES, "localhost"])],
        lifespan=lifespan,
    )


async def _develop(wall: tuple[Tile, ...]) -> None:
    """Make the gray files, before somebody scrolls to them."""
    for tile in wall:
        await asyncio.to_thread(gray_file, tile)


def _gallery(request: Request) -> Gallery:
    gallery: Gallery = request.app.state.gallery
    return gallery


async def _index(request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def _setup(request: Request) -> Response:
    gallery = _gallery(request)
    hung = [
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
            "tiles": hung,
            "addresses": gallery.addresses[1:] or gallery.addresses,  # the first is kept free for the page itself
            "most_in_flight": MOST_IN_FLIGHT,
            "cores": cores(),
        }
    )


async def _figures(request: Request) -> Response:
    return JSONResponse(_gallery(request).figures(), headers={"Cache-Control": "no-store"})


async def _control(request: Request) -> Response:
    try:
        wanted = await request.json()
        mode, most = wanted["mode"], wanted["max_in_flight"]
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": "mode and max_in_flight are needed"}, 400)
    if mode not in ("serial", "async") or type(most) is not int or not 1 <= most <= MOST_IN_FLIGHT:
        message = f"mode is 'serial' or 'async', max_in_flight from 1 to {MOST_IN_FLIGHT}"
        return JSONResponse({"error": message}, 400)
    await _gallery(request).use(mode, most)
    return await _figures(request)


def _tile(request: Request) -> Tile | None:
    number, hung = request.path_params["number"], _gallery(request).tiles
    return hung[number] if number < len(hung) else None


_ABSENT = "there is no such tile"


async def _gray(request: Request) -> Response:
    tile = _tile(request)
    if tile is None:
        return Response(_ABSENT, 404)
    return _picture(gray_file(tile))  # there already, but for the first second


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
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            return Response(status_code=_NOBODY_READS)
        return Response(
            work.result(),
            media_type="image/jpeg",
            headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": _origin(request)},
        )
    finally:
        gone.cancel()
        work.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _origin(request: Request) -> str:
    """The page's own address, whichever of ours the tile was asked of."""
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
    """Serve until interrupted. `port` 0 is any free one; `opened` is called with the address of the page.

    Raises ConfigurationError where the port is taken.
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
        for one in sockets:
            one.close()


def _sockets(port: int) -> list[socket.socket]:
    """The first address must be had; of the others, as many as the system lends."""
    made: list[socket.socket] = []
    for address in ADDRESSES:
        one = socket.socket()
        if os.name == "posix":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, made[0].getsockname()[1] if made else port))
        except OSError as error:
            one.close()
            if not made:
                why = error.strerror or error
                raise ConfigurationError(f"no page at {address}:{port}: {why}; choose another --port") from None
            continue
        made.append(one)
    return made
