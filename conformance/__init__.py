"""Conformance: coremltools' own tests, with predictions on, through the drop-in, on this machine.

The coremltools wheel ships its tests. Their expected values come from numpy, torch and scikit-learn, never from Apple,
so each of them that reaches a prediction is a check of Pippin that someone else wrote.

    python -m conformance                       two cases of every test function of every folder
    python -m conformance --cases 0             every case: hours
    python -m conformance --folder ops --strict the operations, with our own tolerances

Results are kept in out/conformance, one line a test, so that an interrupted run goes on where it stopped.
"""
