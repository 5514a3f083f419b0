"""Segment: a lowered model and the units of this machine (engines on devices) go in; segments for these units come out.

The assignment of operations to units has the lowest estimated total cost.
"""

from .calibrate import Machine as Machine
from .calibrate import machine as machine
from .cost_model import Unit as Unit
from .cost_model import estimate as estimate
from .cost_model import values_of as values_of
from .cost_model import work_of as work_of
from .cut import Segment as Segment
from .cut import between as between
from .cut import cut as cut
from .cut import cut_in_two as cut_in_two
from .cut import run_numbers as run_numbers
from .partition import Partition as Partition
from .partition import Problem as Problem
from .partition import Transfer as Transfer
from .partition import partition as partition
from .relative_costs import VIEWS as VIEWS
from .relative_costs import estimates as estimates
from .relative_costs import relative_costs as relative_costs
