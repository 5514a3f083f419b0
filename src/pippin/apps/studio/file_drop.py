"""File drop: an area to drop files on, or to choose them by mouse or keyboard. It says what it does not take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import ui

from .text import TextLabel
from .widgets import hint, refusal

Taken = Callable[[Sequence[Any]], Awaitable[object]]
MOST_FILES = 32
# Handled in the browser: file choosers open only in response to a user's click or key.
_PICK = "() => getElement({id}).$refs.qRef.pickFiles()"
_REFUSED = "(found) => emit(found.map((one) => [one.file.name, one.failedPropValidation]))"


def file_drop(text: str, suffixes: str, taken: Taken, multiple: bool = False) -> Any:
    """Build the area. `taken` is called with the uploaded files (NiceGUI's `FileUpload`): one, or with `multiple` up
    to `MOST_FILES`. `suffixes` are what the browser's file chooser accepts: ".wav,.npy" or "image/*"."""

    async def upload(event: Any) -> None:
        made.reset()
        message.clear()
        files = event.files if multiple else event.files[:1]
        if len(files) < len(event.files):
            with message:
                hint(f"Only one file is taken here: {files[0].name} of {len(event.files)}.")
        await taken(files)

    def refused(event: Any) -> None:
        message.clear()
        with message:
            for name, why in event.args[:3]:
                refusal(_reason(name, why, suffixes))

    place = ui.element("div").classes("drop").props('role="button" tabindex="0"')
    place.props["aria-label"] = text
    with place:
        ui.icon("upload_file").props('aria-hidden="true"')
        TextLabel(text)
        made = ui.upload(auto_upload=True, multiple=True, on_multi_upload=upload, max_files=MOST_FILES)
        made.props(f'accept="{suffixes}" flat').on("rejected", refused, js_handler=_REFUSED)
    message = ui.element("div").classes("given").props('aria-live="polite"')
    pick = _PICK.replace("{id}", str(made.id))
    for key in ("click", "keydown.enter.prevent", "keydown.space.prevent"):
        place.on(key, js_handler=pick)
    return made


def _reason(name: str, why: str, suffixes: str) -> str:
    if why == "max-files":
        return f"{name} is one too many: at most {MOST_FILES} files are taken at a time."
    kinds = "a picture" if suffixes == "image/*" else " or ".join(suffixes.split(","))
    return f"{name} is a file of another kind, or a folder; this takes {kinds}."
