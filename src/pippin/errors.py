"""Errors: the one tree of everything Pippin raises on purpose.

    PippinError
    ├── FormatError                 the bytes on disk (or in memory) are not a sound model
    │   ├── PackageError            .mlpackage layout: manifest, missing item, not a model at all
    │   ├── SpecificationError      the protobuf is truncated, empty, or contradicts itself
    │   ├── WeightError             the weight file is missing, truncated, or an offset is wrong
    │   └── ProgramError            MIL that is not a program: undefined value, wrong arity, bad constant
    ├── UnsupportedError            a sound model that this version cannot execute
    │   ├── UnsupportedModelError       the kind of model
    │   ├── UnsupportedVersionError     the specification version
    │   └── UnsupportedOperationError   an operation, or a combination of its arguments
    ├── ConfigurationError          an option that does not exist or does not fit this model
    ├── FeatureError                what was given to a prediction
    │   ├── MissingFeatureError         a required input was not given
    │   ├── UnexpectedFeatureError      a name that the model does not have
    │   ├── FeatureTypeError            wrong kind of value or element type
    │   ├── FeatureShapeError           wrong rank, or a size outside what the model allows
    │   └── FeatureValueError           right kind and shape, but a value that cannot be used
    ├── StateError                  a state that was not made for this model, or not given
    ├── CacheError                  the cache cannot do what it was asked to (a load goes on without it)
    ├── TraceError                  a file that holds no trace
    ├── ReportError                 a file that holds no report, or a condition that cannot be judged
    ├── SpecializationCancelled     whoever waited for a load has cancelled it
    └── EngineError                 an engine failed
        ├── CompilationError            while it compiled the model
        └── PredictionError             while it computed a prediction, or it was not computed:
            ├── PredictionCancelled         whoever waited for it has cancelled it
            │   └── DeadlineExceeded            it was not done, or not begun, in time
            ├── PredictionDropped           flow control dropped it, for a newer one or for want of room
            └── PredictionRejected          flow control refused it: too many are under way

`code` is the name of the nearest `MLModelError.Code` of Core ML. Each layer that knows more about where it
was adds a line with `add_note`; `report()` gives the whole as one readable text.
"""


class PippinError(Exception):
    """Base of every error that Pippin raises on purpose."""

    code = "generic"

    def report(self) -> str:
        """The message, followed by the notes that the layers above added, one a line."""
        return "\n".join([str(self), *getattr(self, "__notes__", ())])


class FormatError(PippinError):
    code = "io"


class PackageError(FormatError):
    pass


class SpecificationError(FormatError):
    pass


class WeightError(FormatError):
    pass


class ProgramError(FormatError):
    pass


class UnsupportedError(PippinError):
    pass


class UnsupportedModelError(UnsupportedError):
    pass


class UnsupportedVersionError(UnsupportedError):
    pass


class UnsupportedOperationError(UnsupportedError):
    pass


class ConfigurationError(PippinError):
    code = "parameters"


class FeatureError(PippinError):
    code = "featureType"


class MissingFeatureError(FeatureError):
    pass


class UnexpectedFeatureError(FeatureError):
    pass


class FeatureTypeError(FeatureError):
    pass


class FeatureShapeError(FeatureError):
    pass


class FeatureValueError(FeatureError):
    pass


class StateError(PippinError):
    pass


class CacheError(PippinError):
    code = "io"


class TraceError(PippinError):
    code = "io"


class ReportError(PippinError):
    code = "io"


class SpecializationCancelled(PippinError):
    code = "predictionCancelled"


class EngineError(PippinError):
    pass


class CompilationError(EngineError):
    pass


class PredictionError(EngineError):
    pass


class PredictionCancelled(PredictionError):
    code = "predictionCancelled"


class DeadlineExceeded(PredictionCancelled):
    pass


class PredictionDropped(PredictionError):
    code = "predictionCancelled"


class PredictionRejected(PredictionError):
    pass
