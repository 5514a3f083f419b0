"""Pippin: the Core ML engine for every machine that is not a Mac.

model = pippin.load("model.mlpackage")
outputs = model.predict({"image": "cat.png"})
"""

from . import errors as errors
from . import trace as trace
from .cancellation import Cancellation as Cancellation
from .configuration import ComputeUnits as ComputeUnits
from .configuration import Configuration as Configuration
from .configuration import Hints as Hints
from .custom_layers import custom_layer as custom_layer
from .custom_models import CustomModel as CustomModel
from .custom_models import custom_model as custom_model
from .devices.detect import all_compute_devices as all_compute_devices
from .devices.detect import available_compute_devices as available_compute_devices
from .devices.device import ComputeDevice as ComputeDevice
from .errors import PippinError as PippinError
from .feature_extractors import replace_feature_extractor as replace_feature_extractor
from .features.image_input import ImageInput as ImageInput
from .flow.control import FlowControl as FlowControl
from .flow.control import Statistics as Statistics
from .model import Model as Model
from .model import load as load
from .model import load_async as load_async
from .model import save_compiled as save_compiled
from .model import specialize as specialize
from .options import PredictionOptions as PredictionOptions
from .state import State as State
from .reporting import report as report
from .version import __version__ as __version__
