"""Pippin: the Core ML engine for every machine that is not a Mac.

model = pippin.load("model.mlpackage")
outputs = model.predict({"image": "cat.png"})
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import errors as errors
from . import trace as trace
from .configuration import ComputeUnits as ComputeUnits
from .configuration import Configuration as Configuration
from .configuration import Hints as Hints
from .devices.detect import all_compute_devices as all_compute_devices
from .devices.detect import available_compute_devices as available_compute_devices
from .devices.device import ComputeDevice as ComputeDevice
from .errors import CacheError as CacheError
from .errors import CompilationError as CompilationError
from .errors import ConfigurationError as ConfigurationError
from .errors import ConversionError as ConversionError
from .errors import DataError as DataError
from .errors import DeadlineExceeded as DeadlineExceeded
from .errors import EngineError as EngineError
from .errors import FeatureError as FeatureError
from .errors import FeatureFileNotFoundError as FeatureFileNotFoundError
from .errors import FeatureShapeError as FeatureShapeError
from .errors import FeatureTypeError as FeatureTypeError
from .errors import FeatureValueError as FeatureValueError
from .errors import FormatError as FormatError
from .errors import MissingFeatureError as MissingFeatureError
from .errors import MissingFileError as MissingFileError
from .errors import ModelNotFoundError as ModelNotFoundError
from .errors import PackageError as PackageError
from .errors import PippinError as PippinError
from .errors import PredictionCancelled as PredictionCancelled
from .errors import PredictionDropped as PredictionDropped
from .errors import PredictionError as PredictionError
from .errors import PredictionRejected as PredictionRejected
from .errors import ProgramError as ProgramError
from .errors import ReportError as ReportError
from .errors import ReportNotFoundError as ReportNotFoundError
from .errors import SpecializationCancelled as SpecializationCancelled
from .errors import SpecificationError as SpecificationError
from .errors import StateError as StateError
from .errors import TraceError as TraceError
from .errors import TraceNotFoundError as TraceNotFoundError
from .errors import UnexpectedFeatureError as UnexpectedFeatureError
from .errors import UnsupportedError as UnsupportedError
from .errors import UnsupportedModelError as UnsupportedModelError
from .errors import UnsupportedOperationError as UnsupportedOperationError
from .errors import UnsupportedVersionError as UnsupportedVersionError
from .errors import WeightError as WeightError
from .errors import WeightFileNotFoundError as WeightFileNotFoundError
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

if _TYPE_CHECKING:
    from .cache.store import Cache as Cache
    from .develop.bisect import bisect as bisect
    from .develop.check import check as check
    from .develop.compare import compare as compare
    from .develop.compress import compress as compress
    from .develop.convert import convert as convert
    from .develop.estimators.from_estimator import from_estimator as from_estimator
    from .develop.evaluate import evaluate as evaluate
    from .specialization.compute_plan import ComputePlan as ComputePlan
    from .specialization.progress import Progress as Progress

_moved_modules.install()

# Imported when they are asked for: `import pippin` needs none of them.
_LATER = {
    "Cache": "cache.store",
    "ComputePlan": "specialization.compute_plan",
    "Progress": "specialization.progress",
    "bisect": "develop.bisect",
    "check": "develop.check",
    "evaluate": "develop.evaluate",
    "compare": "develop.compare",
    "compress": "develop.compress",
    "convert": "develop.convert",
    "from_estimator": "develop.estimators.from_estimator",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        return _moved_modules.moved_attribute(name)
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
