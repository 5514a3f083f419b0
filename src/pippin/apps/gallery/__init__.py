"""Gallery: a wall of grayscale photos that a Core ML model colours while they are in view."""
