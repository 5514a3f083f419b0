"""Evaluate: how good models are on labelled data, side by side, with what each costs."""

from .evaluation import Evaluation as Evaluation
from .run import evaluate as evaluate
