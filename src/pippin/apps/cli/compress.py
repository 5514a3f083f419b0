"""pippin compress: stores a model's weights smaller, until it reaches a size, a latency or a memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common_options import Function


def compress(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc that is an ML Program.")],
    target: Annotated[
        str, typer.Option(help="size=4x (weights against float32), size=12MB, latency=5ms, memory=200MB.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .mlpackage to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Labelled data, as for `pippin evaluate`; without, seeded inputs are used.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth in a table.")] = None,
    metric: Annotated[
        str, typer.Option(help="The metric that may not drop; by default the first of the task.")
    ] = "auto",
    max_drop: Annotated[str, typer.Option(help="What the metric may lose: 0.01 or 1%.")] = "1%",
    budget: Annotated[str, typer.Option(help="Time to spend: '10 min', '90 s'.")] = "10 min",
    resume: Annotated[
        Path | None, typer.Option(help="Keep the measurements in this file, and go on from it if it is there.")
    ] = None,
    function: Function = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Search how each weight can be stored smaller, build the best few packages, and measure them.

    The exit status is 1 if none reaches the target without losing too much; then nothing is written.
    """
    import json
    from dataclasses import asdict

    from ...develop.compress import compress as compressed
    from .open_argument import open_argument
    from .output_file import check_file
    from .terminal import console, progress_bar, say, table

    for option, path in (("--output", output), ("--resume", resume)):
        if path is not None:
            check_file(path, option)
    asset = open_argument(model)
    with progress_bar("compress", err=True) as show:
        found = compressed(
            asset, target, data, metric, max_drop=max_drop, budget=budget, output=output, label=label, resume=resume,
            function=function, progress=show,
        )  # fmt: skip
    chosen = found.chosen
    if json_:
        typer.echo(json.dumps({**asdict(found), "path": str(found.path) if found.path else None}))
    else:
        if found.metric is not None:
            console().print(f"{found.model}: {found.metric_name} {found.metric:.4g}")
        head, *rows = found.rows()
        shown = table(*head)
        for row in rows:
            shown.add_row(*row)
        console().print(shown)
        if chosen is not None:
            for name, method in chosen.choices.items():
                say(f"  {name}: {method}")
            say(f"{output}: {chosen.ratio:.1f} times smaller than in float32")
        else:
            say(f"no way to {target} loses less than {max_drop}; nothing was written", err=True)
    if chosen is None:
        raise typer.Exit(1)
