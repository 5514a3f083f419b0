"""Help texts: each names every kind of file, engine and value that its option takes."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from typer.main import get_command

from pippin.apps.cli import app
from pippin.configuration import ComputeUnits, Precision, SpecializationStrategy
from pippin.engines import all_engines

NAMED = {
    "model": (".mlpackage", ".mlmodel", ".mlmodelc"),
    "models": (".mlpackage", ".mlmodel", ".mlmodelc"),
    "engine": tuple(all_engines()),
    "precision": get_args(Precision),
    "strategy": get_args(SpecializationStrategy),
    "compute_units": tuple(ComputeUnits.__members__),
}


def parameters(command, path=()):
    for child in getattr(command, "commands", {}).values():
        yield from parameters(child, (*path, child.name))
    for parameter in command.params:
        if parameter.name in NAMED:
            yield pytest.param(parameter, id=" ".join((*path, parameter.name)))


@pytest.mark.parametrize("parameter", list(parameters(get_command(app))))
def test_a_help_text_names_what_is_accepted(parameter):
    missing = [word for word in NAMED[parameter.name] if not re.search(rf"{re.escape(word)}\b", parameter.help)]
    assert not missing, parameter.help
