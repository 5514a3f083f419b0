"""Device: work that the test holds; and what is given to the small model of `package`."""

from __future__ import annotations

import threading

import numpy as np

import pippin

FAST = pippin.Configuration(hints=pippin.Hints("fast_load"))


class Device:
    """Work that runs until the test lets it go, or it is asked to stop and `stops`."""

    def __init__(self, stops=False):
        self.begun, self.go, self.stops = threading.Semaphore(0), threading.Event(), stops
        self.runs = 0

    def __call__(self, stop=None):
        self.runs += 1
        self.begun.release()
        if self.stops:
            with stop.by(self.go.set):
                assert self.go.wait(60)
            stop.check()
        assert self.go.wait(60)
        return {"y": 1}


def given(number):
    return {"x": np.full((3, 4), number, np.float32)}


def right(outputs, number):
    return bool((outputs["y"] == number + 1).all())
