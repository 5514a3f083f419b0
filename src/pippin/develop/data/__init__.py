"""Data: labelled examples from the layouts that people have: folders, tables, and annotations of boxes and masks."""

from .dataset import Dataset as Dataset
from .dataset import Example as Example
from .dataset import Task as Task
from .open_dataset import open_dataset as open_dataset
