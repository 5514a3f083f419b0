"""Conformance: runs coremltools' own tests with Pippin as the prediction backend. A selection of tests enters; results
and a report leave.

The coremltools wheel includes its tests. Their expected values come from numpy, torch and scikit-learn, never from
Apple, so every test that reaches a prediction is an independent check of Pippin.

    python -m conformance                       two cases of every test function in every folder
    python -m conformance --cases 0             every case: hours
    python -m conformance --folder ops --strict the operations, with Pippin's tolerances

Results are written to out/conformance, one line per test; an interrupted run resumes from them.
"""
