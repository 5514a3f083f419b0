"""Scripts: a program written for a Mac runs unmodified, whichever way the drop-in comes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).parent / "macos_script.py"
WAYS = {
    "pippin run": ["-m", "pippin", "run", str(SCRIPT)],
    "pippin run -m": ["-m", "pippin", "run", "-m", SCRIPT.stem],
    "import before": ["-c", f"import pippin.coremltools\nexec(open({str(SCRIPT)!r}).read())"],
    "import after": ["-c", f"import coremltools\nimport pippin.coremltools\nexec(open({str(SCRIPT)!r}).read())"],
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=SCRIPT.parent,
        env={**os.environ, "TQDM_DISABLE": "1", **environment},
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_script_for_a_mac_runs_unmodified(way):
    done = run(*WAYS[way])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["single"] < 5e-3
    assert found["batch"] < 5e-3
    assert found["classifier"] is True
    assert found["probabilities"] < 5e-3
    assert found["state"] == [3.0, 6.0]
    assert found["read_state"] == [3.0, 6.0]


def test_without_the_drop_in_it_does_not():
    done = run(str(SCRIPT))
    assert done.returncode != 0
    assert "macOS" in done.stderr


def test_arguments_and_exit_status_are_the_scripts(tmp_path):
    script = tmp_path / "s.py"
    script.write_text("import sys\nprint(sys.argv[1:], __name__)\nsys.exit(7)\n")
    done = run("-m", "pippin", "run", str(script), "--json", "-m", "x", "--help")
    assert done.stdout.strip() == "['--json', '-m', 'x', '--help'] __main__"
    assert done.returncode == 7


def test_an_error_of_the_script_is_shown_as_its_own(tmp_path):
    script = tmp_path / "s.py"
    script.write_text("def f():\n    raise KeyError('own')\n\nf()\n")
    done = run("-m", "pippin", "run", str(script))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert f'File "{script}", line 4' in done.stderr.splitlines()[1]
    assert done.stderr.rstrip().endswith("KeyError: 'own'")


def test_a_missing_script_is_a_wrong_use():
    done = run("-m", "pippin", "run", "no-such.py")
    assert done.returncode == 2
    assert "file not found: no-such.py" in done.stderr


def test_as_a_pytest_plugin(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "from coremltools.models import model, utils\n\n"
        "def test_it():\n"
        "    assert utils._macos_version() >= (15, 0)\n"
        "    assert model._MLModelProxy is not None\n"
    )
    plain = ["-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(tmp_path)]
    assert run(*plain, "-p", "pippin.coremltools").returncode == 0
    assert run(*plain).returncode == 1


INSTALL = """
import sys
{first}
import pippin.coremltools as drop_in
drop_in.install()
drop_in.install()
import coremltools
from coremltools.models import model, utils, compute_plan, compute_device, _compiled_model
from coremltools import _deps
from coremltools.models.utils import _macos_version as copied
modules = (model, compute_plan, compute_device, _compiled_model)
assert all(m._MLModelProxy is not None for m in modules)
assert utils._is_macos() and copied() >= (26, 0) and _deps._IS_MACOS is True
drop_in.uninstall()
drop_in.uninstall()
assert "coremltools.libcoremlpython" not in sys.modules
assert all(m._MLModelProxy is None for m in modules)
assert not utils._is_macos() and copied() == () and _deps._IS_MACOS is False
drop_in.install()
assert all(m._MLModelProxy is not None for m in modules)
assert copied() >= (26, 0) and _deps._IS_MACOS is True
"""


@pytest.mark.parametrize("first", ["", "import coremltools", "import coremltools.models.model"])
def test_install_and_uninstall_reach_every_copy(first):
    done = run("-c", INSTALL.format(first=first))
    assert done.returncode == 0, done.stderr


def test_the_drop_in_alone_imports_neither_coremltools_nor_an_engine():
    code = (
        "import sys, pippin.coremltools\n"
        "heavy = {'openvino', 'onnxruntime', 'torch', 'coremltools'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_coremltools_keeps_quiet_about_its_native_half():
    done = run("-c", "import pippin.coremltools, coremltools")
    assert "Failed to load" not in done.stderr
