"""Calibrate: the measured units are plausible, and measured once."""

from pippin.engines import all_engines
from pippin.segment.calibrate import machine


def test_the_units_of_this_machine():
    engines = {name: engine.version for name, engine in all_engines().items() if engine.installed}
    units = machine({"cpu": engines}).units
    assert [unit.engine for unit in units] == list(engines)
    for unit in units:
        assert unit.device == "cpu"
        assert 1e8 < unit.arithmetic < 1e14
        assert 1e8 < unit.bandwidth < 1e13
        assert 1e-9 < unit.launch < 1e-2
        assert 0 < unit.latency < 1
    assert machine({"cpu": engines}).units == units
