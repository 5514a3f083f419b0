"""Convert: torch and ONNX networks become Core ML packages that were compared with their source."""

from .conversion import Conversion as Conversion
from .conversion import convert as convert
