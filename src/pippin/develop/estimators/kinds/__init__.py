"""Estimators: one module for each family; each function writes one kind of estimator into a graph of parts."""
