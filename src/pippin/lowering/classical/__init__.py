"""Classical: lowers models other than networks, and feature transformers, to ONNX; one module per family.

An asset and its function description enter; a `Lowered` model leaves. `feature_graph.py` holds the inputs and outputs
that all families share; `lowering/lower_model.py` maps each kind of model to its function.
"""
