"""Errors: the hierarchy of all exceptions that Pippin raises deliberately.

    PippinError
    ├── FormatError                 the file or in-memory data is not a valid model
    │   ├── PackageError            .mlpackage layout: bad manifest, missing item, not a model
    │   │   └── ModelNotFoundError *        no file or folder of this name
    │   ├── SpecificationError      the protobuf is truncated, empty, or contradicts itself
    │   ├── WeightError             the weight file is truncated, or an offset is wrong
    │   │   └── WeightFileNotFoundError *   it is missing
    │   └── ProgramError            invalid MIL program: undefined value, wrong arity, bad constant
    ├── UnsupportedError            a valid model that this version cannot execute
    │   ├── UnsupportedModelError       the kind of model
    │   ├── UnsupportedVersionError     the specification version
    │   └── UnsupportedOperationError   an operation, or a combination of its arguments
    ├── ConversionError             a converted model would not predict what its source predicts
    ├── ConfigurationError          an option that is unknown or does not fit this model
    ├── FeatureError                invalid input of a prediction
    │   ├── MissingFeatureError         a required input is missing
    │   ├── UnexpectedFeatureError      the model has no input or output of this name
    │   ├── FeatureTypeError            wrong type of value or element
    │   ├── FeatureShapeError           wrong rank, or a size that the model does not allow
    │   └── FeatureValueError           right type and shape, but an invalid value
    │       └── FeatureFileNotFoundError *      no file of this name
    ├── StateError                  a state is missing or belongs to another model
    ├── CacheError                  a cache operation failed (a load continues without the cache)
    ├── TraceError                  a file that is not a trace
    │   └── TraceNotFoundError *        no file of this name
    ├── ReportError                 a file that is not a report, or a condition that cannot be evaluated
    │   └── ReportNotFoundError *       no file of this name
    ├── DataError                   labelled data that cannot be read
    ├── MissingFileError            a FileNotFoundError as well; the base of those with a *
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

import errno


class PippinError(Exception):
    """Base class of every error that Pippin raises deliberately."""

    code = "generic"

    def report(self) -> str:
        """The message, followed by the notes of the layers above, one per line."""
        return "\n".join([str(self), *getattr(self, "__notes__", ())])


class MissingFileError(PippinError, FileNotFoundError):
    """A file or folder that does not exist; the message says of what, and `filename` is its path."""

    code = "io"
    errno = errno.ENOENT

    def __init__(self, message: str, filename: object = None) -> None:
        super().__init__(message)
        self.filename = None if filename is None else str(filename)

    def __str__(self) -> str:
        return str(self.args[0])  # an OSError with a `filename` shows a message of its own


class FormatError(PippinError):
    code = "io"


class PackageError(FormatError):
    pass


class ModelNotFoundError(PackageError, MissingFileError):
    pass


class SpecificationError(FormatError):
    pass


class WeightError(FormatError):
    pass


class WeightFileNotFoundError(WeightError, MissingFileError):
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


class ConversionError(PippinError):
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


class FeatureFileNotFoundError(FeatureValueError, MissingFileError):
    pass


class StateError(PippinError):
    pass


class CacheError(PippinError):
    code = "io"


class TraceError(PippinError):
    code = "io"


class TraceNotFoundError(TraceError, MissingFileError):
    pass


class DataError(PippinError):
    """A data set cannot be read: the message names the file and, where there is one, the line or entry."""

    code = "io"


class ReportError(PippinError):
    code = "io"


class ReportNotFoundError(ReportError, MissingFileError):
    pass


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
