"""Features: between what people hold (arrays, tensors, images, numbers) and what an engine computes with.

An encoder or a decoder is a function made at load from the feature's description, so that a prediction only
calls it.
"""
