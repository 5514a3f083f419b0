"""Layers: lowers neural-network layers, one module per family.

Layer parameters and input tensors enter; MIL operations and ONNX nodes leave. Importing this package fills the layer
registry.
"""

from . import activation as activation
from . import constants as constants
from . import control_flow as control_flow
from . import convolution as convolution
from . import custom_layer as custom_layer
from . import elementwise as elementwise
from . import indexing as indexing
from . import linear as linear
from . import normalization as normalization
from . import pooling as pooling
from . import recurrent as recurrent
from . import reduction as reduction
from . import resampling as resampling
from . import shaping as shaping
from . import slicing as slicing
