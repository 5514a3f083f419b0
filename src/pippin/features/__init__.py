"""Features: converts user values (arrays, tensors, images, numbers) to engine arrays and back.

In: feature values and their descriptions. Out: arrays for the engine; for outputs, the reverse. Encoders and decoders
are functions built from the descriptions at load, so that a prediction only calls them.
"""
