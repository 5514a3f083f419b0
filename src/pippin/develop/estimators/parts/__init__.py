"""Parts: what a converted estimator is made of: classical models and ML Programs, joined by named features."""
