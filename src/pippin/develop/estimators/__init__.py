"""Estimators of scikit-learn and its like to Core ML: an estimator becomes a graph of parts, checked against itself."""
