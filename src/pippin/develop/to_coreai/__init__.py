"""To Core AI: carries Core ML models over to Core AI.

A model is lowered to ONNX as for a prediction (`lowering/`), its sizes are fixed (`fixed_graph.py`), each operator is
written down in Core AI's operations (`translate.py`), and Apple's package makes the asset (`build.py`,
`apple_process.py`). `convert.py` compares before it hands over.
"""

from .convert import ToCoreAI as ToCoreAI
from .convert import to_coreai as to_coreai
