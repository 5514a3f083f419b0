"""Page: the studio's two routes, page header and tabs. A tab is built when it is first shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from nicegui import ui

from ...configuration import ComputeUnits
from ...support.visible_text import visible
from . import cache, feature_list, general, netron, performance, start_page, structure, trace
from .open_models import Models, Opened, configuration_of
from .preview import tab as preview
from .text import Heading, TextLabel
from .widgets import error_box, failing_into

TABS: dict[str, Callable[[Opened], Any]] = {
    "General": general.build,
    "Predictions": feature_list.build,
    "Preview": preview.build,
    "Performance": performance.build,
    "Structure": structure.build,
    "Trace": trace.build,
    "Cache": cache.build,
}
_STYLE = Path(__file__).parent / "studio.css"
_SCRIPT = Path(__file__).parent / "studio.js"
_DARK = "pippin-dark"  # cookie that stores light or dark mode
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<path fill="#4f9a5e" d="M16 9c2-4 5-6 8-6-1 4-3 6-6 7"/>'
    '<path fill="#d8583f" d="M16 10c5-3 12 0 12 8 0 7-5 12-8 12-2 0-2-1-4-1s-2 1-4 1c-3 0-8-5-8-12 0-8 7-11 12-8z"/>'
    "</svg>"
)
_PATIENCE = 30.0  # seconds
models = Models()


def application() -> FastAPI:
    """The studio as a FastAPI application, without API documentation pages."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    netron.mount(made)
    # A page that does not answer in time loses what it shows, and its reload does not measure again. By default the
    # time is 3 seconds, which a busy machine takes.
    ui.run_with(
        made, title="Pippin", language="en-US", favicon=_ICON, dark=None, tailwind=False, show_welcome_message=False,
        reconnect_timeout=_PATIENCE,
    )  # fmt: skip
    return made


@ui.page("/")
async def root(request: Request) -> None:
    with _head(request, title=True):
        ui.element("div").classes("grow")
    with ui.element("div").classes("body narrow"):
        start_page.build(models.recent())


@ui.page("/model")
async def model_page(request: Request, path: str, function: str = "", units: str = "ALL", tab: str = "General") -> None:
    try:
        opened = await models.open(Path(path).expanduser().absolute(), configuration_of(function, units))
    except Exception as error:
        with _head(request, title=True):
            ui.element("div").classes("grow")
        with ui.element("div").classes("body narrow"):
            error_box(error)
            start_page.build(models.recent())
        return
    ui.page_title(f"{visible(opened.path.name)} – Pippin")
    chosen = next((name for name in TABS if name.lower() == tab.lower()), "General")
    with _head(request):
        _identity(opened)
    places: dict[str, Any] = {}
    built: set[str] = set()

    async def show(name: str) -> None:
        for other, place in places.items():
            place.set_visibility(other == name)
        if name in built:
            return
        built.add(name)
        place = places[name]
        with failing_into(place), place:
            made = TABS[name](opened)
            if isinstance(made, Awaitable):
                await made

    async def changed(event: Any) -> None:
        ui.navigate.history.replace(_address(opened, tab=event.value))
        await show(event.value)

    with ui.tabs(value=cast(Any, chosen), on_change=changed).props("no-caps align=left inline-label").classes("tabs"):
        for name in TABS:
            ui.tab(name)
    with ui.element("div").classes("body"):
        for name in TABS:
            with ui.element("div").classes("page").props(f'data-tab="{name}"') as place:
                places[name] = place
    await ui.context.client.connected()
    await show(chosen)


def _identity(opened: Opened) -> None:
    """Model name and kind, with selectors for the function and the compute units."""
    description = opened.asset.description
    with ui.element("div").classes("identity"):
        Heading(1, opened.path.name).classes("model-name").tooltip(visible(str(opened.path)))
        TextLabel(opened.kind.title).classes("chip")
    ui.element("div").classes("grow")
    if len(description.functions) > 1:
        functions = {function.name: visible(function.name) for function in description.functions}
        ui.select(
            functions,
            value=opened.function.name,
            label="Function",
            on_change=lambda event: ui.navigate.to(_address(opened, function=event.value)),
        ).props("dense outlined options-dense").classes("small-select")
    ui.select(
        [unit.name for unit in ComputeUnits],
        value=opened.configuration.compute_units.name,
        label="Compute units",
        on_change=lambda event: ui.navigate.to(_address(opened, units=event.value)),
    ).props("dense outlined options-dense").classes("small-select")


def _address(opened: Opened, **changed: str) -> str:
    now = {
        "path": str(opened.path),
        "function": opened.configuration.function_name or "",
        "units": opened.configuration.compute_units.name,
    }
    return f"/model?{urlencode({name: value for name, value in (now | changed).items() if value})}"


@contextmanager
def _head(request: Request, title: bool = False) -> Iterator[None]:
    """Page header. Elements built in the block appear between the home link and the light/dark button. With `title`,
    the product's name is the page's heading."""
    ui.add_css(_STYLE)
    ui.add_body_html(f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script>")
    ui.colors(primary="#2f7340")
    kept = request.cookies.get(_DARK)
    dark = ui.dark_mode(None if kept is None else kept == "1")

    def toggle(event: Any) -> None:
        dark.set_value(not event.args)
        ui.run_javascript(
            f"document.cookie = '{_DARK}={int(not event.args)}; path=/; max-age=31536000; samesite=strict'"
        )

    with ui.element("header").classes("head"):
        with ui.link(target="/").classes("brand"):
            ui.html(_ICON, sanitize=False).props('aria-hidden="true"')
            (Heading(1, "Pippin") if title else TextLabel("Pippin")).classes("brand-name")
        yield
        button = ui.button(icon="contrast").props('flat round aria-label="Light or dark"').classes("look")
        button.on("click", toggle, js_handler="() => emit(document.body.classList.contains('body--dark'))")
