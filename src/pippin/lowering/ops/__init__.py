"""Ops: one file for each family of MIL operations, by MIL's own family names; importing them fills the registry."""

from . import activation as activation
from . import control_flow as control_flow
from . import elementwise_binary as elementwise_binary
from . import elementwise_unary as elementwise_unary
from . import linear as linear
