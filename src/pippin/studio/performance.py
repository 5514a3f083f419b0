from .opened import Opened


def build(opened: Opened) -> None:
    pass
