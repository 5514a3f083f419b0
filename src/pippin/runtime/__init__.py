"""Runtime: a model file and inputs go in, predictions come out; loading, sessions, states, and predictions in flight."""
