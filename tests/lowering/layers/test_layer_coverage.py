"""Coverage: each layer of the protobuf has a lowering, and a row with values."""

from __future__ import annotations

import pytest

from lowering.layers import (
    test_control,
    test_custom_layers,
    test_layers,
    test_random_layers,
    test_sequences,
    test_windows,
)
from pippin.format.schema import messages
from pippin.lowering.layer_registry import LAYERS

FIELDS = messages("NeuralNetwork").NeuralNetworkLayer.DESCRIPTOR.oneofs_by_name["layer"].fields
TESTED = {
    r.layer
    for module in (test_control, test_custom_layers, test_layers, test_random_layers, test_sequences, test_windows)
    for r in module.ROWS
}


def test_every_layer_is_lowered():
    assert len(FIELDS) == 158
    assert {field.name for field in FIELDS} == set(LAYERS)


@pytest.mark.parametrize("kind", [field.name for field in FIELDS])
def test_every_layer_has_a_row(kind):
    assert kind in TESTED
