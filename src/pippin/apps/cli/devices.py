"""pippin devices: lists the compute devices of this machine, and why others are unavailable."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def devices(
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON list and nothing else.")] = False,
) -> None:
    """List the compute devices and the engines that support them.

    Shows the reason if an engine or device is unavailable.
    """
    from rich.text import Text

    from ...devices.detect import all_compute_devices
    from .terminal import console, styled, table

    found = all_compute_devices()
    if json_:
        typer.echo(
            json.dumps(
                [
                    {
                        "kind": device.kind,
                        "name": device.name,
                        "available": device.available,
                        "cores": device.cores,
                        "instruction_sets": list(device.instruction_sets),
                        "driver": device.driver,
                        "engines": dict(device.engines),
                        "absent": dict(device.absent),
                    }
                    for device in found
                ]
            )
        )
        return
    rows = table("device", "name", "engines", "details")
    for device in found:
        engines = ", ".join(f"{name} {version}" for name, version in device.engines.items())
        details = [f"{device.cores} cores"] if device.cores else []
        details += [", ".join(device.instruction_sets)] if device.instruction_sets else []
        details += [device.driver] if device.driver else []
        details += [f"{engine}: {reason}" for engine, reason in device.absent.items()]
        lines = Text("\n").join(map(styled, details))
        rows.add_row(device.kind, device.name, engines or styled(("unavailable", "dim")), lines)
    console().print(rows)
