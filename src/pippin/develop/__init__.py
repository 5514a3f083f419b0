"""Develop: how a model comes to be. An estimator becomes a Core ML model that predicts the same."""
