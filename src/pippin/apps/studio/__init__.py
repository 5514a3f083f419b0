"""Studio: local web page for inspecting models. A model path enters; its features, predictions and timings leave."""
