"""Coverage: the table of lowerings against coremltools' registry, and the rows against both."""

import importlib
import inspect
from collections import defaultdict
from pathlib import Path

import pytest
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from pippin.lowering.op_registry import LOWERINGS

REGISTRY = SSAOpRegistry.core_ops
# What a block argument or a Python-only parameter of the registry is, a stored program has no argument for.
NOT_STORED = {"_true_fn", "_false_fn", "_cond", "_body", "_existing_blocks"}
# coremltools stores `coreml_update_state` as this.
STORED_ONLY = {"write_state"}
# A constant whose value is a symbol exists while coremltools converts; it is never stored.
NEVER_STORED = {"_const_symbolic"}
RELEASES = {"iOS13": 15, "iOS14": 15, "iOS15": 15, "iOS16": 16, "iOS17": 17, "iOS18": 18}


def all_cases():
    modules = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py") if path.stem != "test_coverage")
    return [case for name in modules for case in getattr(importlib.import_module(f"lowering.{name}"), "CASES", ())]


@pytest.fixture(scope="module")
def tested():
    """The opsets in which each operation has rows."""
    found = defaultdict(set)
    for case in all_cases():
        found[case.op].add(case.opset)
    return found


def test_the_registry_is_what_the_readme_counts():
    assert len(REGISTRY) == 168
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert "168 operations" in readme
    count = int(readme.split(" rows of cases")[0].split()[-1].replace(",", ""))
    assert count <= len(all_cases()) < count + 100, f"the README says {count} rows; there are {len(all_cases())}"


def test_every_operation_is_lowered():
    assert set(LOWERINGS) - STORED_ONLY == set(REGISTRY)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_signature_is_the_schema(name):
    """Every parameter of every opset is a parameter of the lowering, and none is made up."""
    expected = set().union(*(cls.input_spec.input_types for cls in REGISTRY[name].values())) - NOT_STORED
    assert set(LOWERINGS[name].parameters) == expected


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_since(name):
    assert LOWERINGS[name].since == min(RELEASES[target.name] for target in REGISTRY[name])


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_meaning_has_rows(name, tested):
    """An opset in which the registry has another class for the operation has a row, in it or in one that shares it."""
    if name in NEVER_STORED:
        pytest.skip("never stored in a program")
    classes = defaultdict(set)
    for target, cls in REGISTRY[name].items():
        classes[cls].add(RELEASES[target.name])
    for cls, releases in classes.items():
        where = Path(inspect.getsourcefile(cls)).parent.name
        assert tested[name] & releases, f"no row in {sorted(releases)} for {name} as {where} defines it"
