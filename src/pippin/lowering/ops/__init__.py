"""Ops: lowers MIL operations to ONNX nodes, one module per MIL family. Importing the package fills the registry."""

from . import activation as activation
from . import classify as classify
from . import constexpr_ops as constexpr_ops
from . import control_flow as control_flow
from . import conv as conv
from . import elementwise_binary as elementwise_binary
from . import elementwise_unary as elementwise_unary
from . import image_resizing as image_resizing
from . import image_sampling as image_sampling
from . import linear as linear
from . import lists as lists
from . import non_maximum_suppression as non_maximum_suppression
from . import normalization as normalization
from . import pool as pool
from . import quantization_ops as quantization_ops
from . import random as random
from . import recurrent as recurrent
from . import reduction as reduction
from . import scatter_gather as scatter_gather
from . import slicing as slicing
from . import states as states
from . import tensor_operation as tensor_operation
from . import tensor_transformation as tensor_transformation
from . import transformers as transformers
