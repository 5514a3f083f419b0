"""Errors: the hierarchy of all exceptions that Pippin raises deliberately.

    PippinError
    ├── FormatError                 the file or in-memory data is not a valid model
    │   ├── PackageError            .mlpackage layout: bad manifest, missing item, not a model
    │   ├── SpecificationError      the protobuf is truncated, empty, or contradicts itself
    │   ├── WeightError             the weight file is missing, truncated, or an offset is wrong
    │   └── ProgramError            invalid MIL program: undefined value, wrong arity, bad constant
    ├── UnsupportedError            a valid model that this version cannot execute
    │   ├── UnsupportedModelError       the kind of model
    │   ├── UnsupportedVersionError     the specification version
    │   └── UnsupportedOperationError   an operation, or a combination of its arguments
    ├── ConfigurationError          an option that is unknown or does not fit this model
    ├── FeatureError                invalid input of a prediction
    │   ├── MissingFeatureError         a required input is missing
    │   ├── UnexpectedFeatureError      the model has no input or output of this name
    │   ├── FeatureTypeError            wrong type of value or element
    │   ├── FeatureShapeError           wrong rank, or a size that the model does not allow
    │   └── FeatureValueError           right type and shape, but an invalid value
    ├── StateError                  a state is missing or belongs to another model
    ├── CacheError                  a cache operation failed (a load continues without the cache)
    ├── TraceError                  a file that is not a trace
    ├── ReportError                 a file that is not a report, or a condition that cannot be evaluated
    ├── SpecializationCancelled     the caller cancelled a load, or its time is up (DeadlineExceeded)
    └── EngineError                 an engine failed
        ├── CompilationError            while compiling the model
        └── PredictionError             while computing a prediction, or the prediction did not run:
            ├── PredictionCancelled         the caller cancelled it
            │   └── DeadlineExceeded            it did not start or complete in time
            ├── PredictionDropped           flow control dropped it: a newer one arrived, or the queue was full
            └── PredictionRejected          flow control rejected it: the queue was full

`code` is the name of the closest Core ML `MLModelError.Code`. Each layer that can add context does so with `add_note`;
`report()` returns the message and all notes as text.
"""


class PippinError(Exception):
    """Base class of every error that Pippin raises deliberately."""

    code = "generic"

    def report(self) -> str:
        """The message, followed by the notes of the layers above, one per line."""
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


class DeadlineExceeded(PredictionCancelled, SpecializationCancelled):
    pass


class PredictionDropped(PredictionError):
    code = "predictionCancelled"


class PredictionRejected(PredictionError):
    pass
