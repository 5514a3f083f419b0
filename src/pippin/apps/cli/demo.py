"""pippin demo: shows the gallery in a browser, or compares its designs headless."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..gallery.headless_comparison import Run


def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 picks a free port.")] = 8787,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    headless: Annotated[
        bool, typer.Option("--headless", help="Compare the designs without a page and print a table.")
    ] = False,
    screens: Annotated[int, typer.Option(min=1, max=20, help="With --headless: screens to scroll.")] = 20,
    max_in_flight: Annotated[
        int | None,
        typer.Option(min=1, help="With --headless: maximum concurrent predictions; one per core by default."),
    ] = None,
    picture: Annotated[Path, typer.Option(help="With --headless: file for a picture of the grid.")] = Path(
        "gallery.png"
    ),
    json_: Annotated[
        bool, typer.Option("--json", help="With --headless: print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Show a gallery of grayscale photos that a model colours.

    Photos are coloured while they are in view; scrolling away cancels their predictions.
    """
    if json_ and not headless:
        raise typer.BadParameter("--json requires --headless")
    if headless:
        _compare(screens, max_in_flight, picture, json_)
    else:
        _serve(port, open_)


def _serve(port: int, opening: bool) -> None:
    from importlib.util import find_spec

    from ...errors import ConfigurationError

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"the gallery requires {' and '.join(missing)}; run pip install 'pippin[demo]'")
    from ..gallery.server import serve

    def opened(address: str) -> None:
        typer.echo(f"Gallery: {address} (press Ctrl-C to stop)")
        if opening:
            import webbrowser

            webbrowser.open(address)

    serve(port, opened)


def _compare(screens: int, max_in_flight: int | None, picture: Path, json_: bool) -> None:
    import json
    from dataclasses import asdict

    from ...devices.cpu import cores
    from ..gallery.before_after_picture import save_picture
    from ..gallery.headless_comparison import DWELL, SCREEN, compare
    from .terminal import console

    save_picture(picture)  # first, so that an unwritable path fails early
    if json_:
        runs = compare(screens, max_in_flight=max_in_flight)
    else:
        with console().status("") as status:
            runs = compare(screens, max_in_flight=max_in_flight, progress=lambda name: status.update(f"{name} ..."))
    if json_:
        setting = {"screens": screens, "tiles": screens * SCREEN, "dwell": DWELL, "cores": cores()}
        typer.echo(json.dumps(setting | {"runs": [asdict(run) for run in runs], "picture": str(picture)}))
    else:
        _print(runs, screens, picture)


def _print(runs: list[Run], screens: int, picture: Path) -> None:
    from ...devices.cpu import cores
    from ..gallery.headless_comparison import DWELL, SCREEN
    from .terminal import console, format_duration, table

    out = console()
    scroll = f"scroll of {screens} screens"
    rows = table("", "one screen", scroll, "wait after scroll", "coloured", "cancelled", "tiles / s", "cores busy")
    for run in runs:
        times = [format_duration(seconds) for seconds in (run.screen, run.scroll, run.waited)]
        counts = [f"{run.coloured}", f"{run.cancelled}", f"{run.per_second:.1f}", f"{run.busy:.0%}"]
        rows.add_row(run.name, *times, *counts)
    out.print(rows)
    out.print(
        f"{SCREEN} tiles per screen, each screen in view for {format_duration(DWELL)}; cores: {cores()}. "
        "Each tile is decoded, resized, predicted and encoded.",
        style="dim",
    )
    serial, parallel, cancelling = runs
    out.print(
        f"Async colours a screen {serial.screen / parallel.screen:.1f} times as fast as serial; "
        f"with cancellation the scroll finishes {serial.scroll / cancelling.scroll:.1f} times as fast."
    )
    out.print(f"Wrote a picture of the grid to {picture}")
