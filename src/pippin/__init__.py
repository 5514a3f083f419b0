"""Pippin: the Core ML engine for every machine that is not a Mac.

model = pippin.load("model.mlpackage")
outputs = model.predict({"image": "cat.png"})
"""

from . import errors as errors
from . import trace as trace
from .configuration import ComputeUnits as ComputeUnits
from .configuration import Configuration as Configuration
from .configuration import Hints as Hints
from .devices.detect import all_compute_devices as all_compute_devices
from .devices.detect import available_compute_devices as available_compute_devices
from .devices.device import ComputeDevice as ComputeDevice
from .errors import PippinError as PippinError
from .extend.custom_layers import custom_layer as custom_layer
from .extend.custom_models import CustomModel as CustomModel
from .extend.custom_models import custom_model as custom_model
from .extend.feature_extractors import replace_feature_extractor as replace_feature_extractor
from .features.image_input import ImageInput as ImageInput
from .reporting import report as report
from .runtime.flow.flow_control import FlowControl as FlowControl
from .runtime.flow.flow_control import Statistics as Statistics
from .runtime.model import Model as Model
from .runtime.model import load as load
from .runtime.model import load_async as load_async
from .runtime.model import save_compiled as save_compiled
from .runtime.model import specialize as specialize
from .runtime.prediction_options import PredictionOptions as PredictionOptions
from .runtime.state import State as State
from .support import moved_modules as _moved_modules
from .support.cancellation import Cancellation as Cancellation
from .version import __version__ as __version__

_moved_modules.install()
__getattr__ = _moved_modules.moved_attribute
