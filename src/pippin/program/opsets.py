"""Opsets: the operation sets of MIL, by their names in the protobuf ("CoreML7") and in MIL text ("ios17").

Source: `_OPSET` of coremltools, which maps each to the specification version that introduced it.
"""

from __future__ import annotations

from typing import NamedTuple


class Opset(NamedTuple):
    name: str
    text: str
    specification_version: int


OPSETS = (
    Opset("CoreML3", "ios13", 4),
    Opset("CoreML4", "ios14", 5),
    Opset("CoreML5", "ios15", 6),
    Opset("CoreML6", "ios16", 7),
    Opset("CoreML7", "ios17", 8),
    Opset("CoreML8", "ios18", 9),
    Opset("CoreML9", "ios26", 10),
)
_BY_TEXT = {opset.text: opset for opset in OPSETS}
_BY_NAME = {opset.name: opset for opset in OPSETS}
_PLAIN_SCALARS_SINCE = 9


def opset_of(text: str) -> str:
    """The protobuf name of an operation set in MIL text; unknown names are returned unchanged."""
    return _BY_TEXT[text].name if text in _BY_TEXT else text


def text_of(name: str) -> str:
    return _BY_NAME[name].text if name in _BY_NAME else name


def specification_version_of(name: str) -> int:
    """The specification version that introduced the operation set; the newest for an unknown set."""
    return _BY_NAME.get(name, OPSETS[-1]).specification_version


def has_plain_scalars(name: str) -> bool:
    """Whether MIL text of this operation set spells a scalar type `int32`, not `tensor<int32, []>`."""
    return specification_version_of(name) >= _PLAIN_SCALARS_SINCE
