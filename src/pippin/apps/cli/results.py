"""Results: where the predictions of one command go: to the terminal, as JSON or CSV, to files, into a picture."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from ...errors import ConfigurationError
from ...features.image_input import Resize
from ...support.atomic_write import atomic_write
from ..studio.preview.kinds import carried
from .cases import Case, Cases
from .output_file import check_file
from .print_outputs import as_json, make_folder, refuse_input, write_outputs
from .print_results import Place, View, print_result, print_row
from .terminal import console, notice, styled, write
from .write_rows import CsvRows, Format, JsonLines

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_TABLES: Mapping[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_WRITERS: Mapping[Format, type[CsvRows] | type[JsonLines]] = {"csv": CsvRows, "jsonl": JsonLines}
_ANNOTATED = "annotated.png"


class _Printed(io.TextIOBase):
    """Standard output; on a terminal, control characters in names are made visible."""

    def write(self, text: str) -> int:
        write(text)
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


@dataclass
class Results:
    """Takes the predictions of one command, in their order."""

    view: View
    format: Format
    output: Path | None = None
    resize: Resize | None = None
    _cases: Cases = field(init=False)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _writer: CsvRows | JsonLines | None = None
    count: int = 0

    @property
    def _suffix(self) -> str:
        """The suffix of a file to write; "" for a folder."""
        suffix = self.output.suffix.lower() if self.output is not None else ""
        return suffix if suffix in (*_PICTURES, *_TABLES) and not (self.output and self.output.is_dir()) else ""

    def check(self, cases: Cases) -> None:
        """Raise ConfigurationError, before a model is compiled, for an output that cannot be written."""
        self._cases = cases
        if self.output is None:
            return
        if not self._suffix:
            make_folder(self.output)
            return
        if self._suffix in _TABLES and self.format != "text":
            raise ConfigurationError(f"--output {self.output} has the rows; leave out --format and --json")
        check_file(self.output, "--output")
        refuse_input(self.output, cases.given)
        if self._suffix in _PICTURES:
            from .annotate import check_drawable

            check_drawable(self.view, self.output)
            if cases.several:
                raise ConfigurationError(
                    f"--output {self.output}: one picture, but several predictions; name a folder, which gets a picture"
                    " of each"
                )

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keeps a table aside until the block has succeeded."""
        with ExitStack() as stack:
            kind = _TABLES.get(self._suffix)
            if kind is not None and self.output is not None:
                try:
                    aside = stack.enter_context(atomic_write(self.output))
                    stream = stack.enter_context(aside.open("w", encoding="utf-8", newline=""))
                except OSError as error:
                    raise ConfigurationError(f"{self.output} cannot be written: {error.strerror or error}") from None
                self._writer = _WRITERS[kind](stream, self.view.function)
            elif self.format in _WRITERS:
                self._writer = _WRITERS[self.format](_Printed(), self.view.function)
            yield

    def add(self, case: Case, outputs: dict[str, Any], warnings: list[str]) -> None:
        """Write and print the outputs of one prediction. Raises ConfigurationError if that fails."""
        written = self._written(case, outputs)
        self.count += 1
        if self._writer is not None:
            self._writer.write(case.facts, outputs, written)
        elif self.format == "json":
            files = {name: path for name, path in written.items() if name in outputs}
            row = {**case.facts, "outputs": as_json(outputs, files)}
            row |= {"picture": str(written[_ANNOTATED])} if _ANNOTATED in written else {}
            self._rows.append(row | ({"warnings": warnings} if warnings else {}))
        elif self._cases.several:
            hidden = carried(self.view.function) if self._cases.windowed else ()
            print_row(case.name, {n: v for n, v in outputs.items() if n not in hidden} or outputs, self.view)
        else:
            print_result(outputs, self.view, self._place(case))
            for path in written.values():
                console().print(styled(("wrote", "dim"), f" {path}"))
        self._warn(case, warnings)

    def end(self, facts: Mapping[str, Any], summary: str) -> None:
        """Print what concerns the whole command."""
        if self.format == "json" and self._writer is None:
            found = {"rows": self._rows} if self._cases.several else self._rows[0]
            typer.echo(json.dumps(found | dict(facts), allow_nan=False))
        elif self.format == "text":
            if self._writer is not None:
                console().print(styled(("wrote", "dim"), f" {self.output}: {self.count} rows"))
            console().print(summary, style="dim")

    def _place(self, case: Case) -> Place | None:
        """Where a box of a detector is in the picture, unless that is where the model says."""
        if self.view.kind.name != "objectDetector" or self.resize not in ("scale_fit", "center_crop"):
            return None
        from .annotate import Seen

        seen = Seen.of(self.view, case.features, case.files, self.resize)
        return None if seen is None else seen.placed

    def _warn(self, case: Case, warnings: list[str]) -> None:
        for warning in warnings:
            named = f"{case.name}: {warning}" if case.name else warning
            if self.format == "text" and self._writer is None:
                console().print(styled((f"warning: {named}", "yellow")), soft_wrap=True)
            elif self.format != "json":
                notice(f"warning: {named}")

    def _written(self, case: Case, outputs: dict[str, Any]) -> dict[str, Path]:
        """The files written for a prediction, by output."""
        if self.output is None or self._suffix in _TABLES:
            return {}
        if self._suffix:
            return {_ANNOTATED: self._drawn(case, outputs, self.output)}
        folder = self.output
        if self._cases.several:
            name = case.name if case.files else case.name.replace(" ", "_")
            folder = folder / f"{self.count}-{name}"
        written = write_outputs(outputs, folder, self._cases.given)
        if self._draws():
            written[_ANNOTATED] = self._drawn(case, outputs, folder / _ANNOTATED)
        return written

    def _draws(self) -> bool:
        """Whether a folder gets a picture besides the outputs; one that is an output is there already."""
        from .annotate import check_drawable

        if self.view.kind.name == "imageToImage":
            return False
        try:
            check_drawable(self.view, Path())
        except ConfigurationError:
            return False
        return True

    def _drawn(self, case: Case, outputs: dict[str, Any], path: Path) -> Path:
        from .annotate import Seen, annotated

        seen = Seen.of(self.view, case.features, case.files, self.resize)
        if seen is None:
            raise ConfigurationError(f"--output {path}: the prediction has no picture to draw into")
        picture = annotated(outputs, self.view, seen)
        refuse_input(path, self._cases.given)
        try:
            with atomic_write(path) as aside:
                picture.save(aside)
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None
        return path
