"""Program: parses ML Programs into a typed IR and writes them back.

In: an opened `Asset` (protobuf) or MIL text. Out: a `Program`, MIL text, a protobuf, or a saved model.
"""

from .any_program import PROGRAMS as PROGRAMS
from .any_program import read_program as read_program
from .ir import Block as Block
from .ir import Function as Function
from .ir import Literal as Literal
from .ir import Operation as Operation
from .ir import Program as Program
from .ir import Value as Value
from .mil_writer import mil_text as mil_text
from .opening import open_model as open_model
from .parser import parse_program as parse_program
from .save import save_compiled as save_compiled
