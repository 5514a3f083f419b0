"""The command line, run in this process."""

from __future__ import annotations

import sys

import pytest

from pippin.apps import cli


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs the command line: the exit status, and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pippin", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return run
