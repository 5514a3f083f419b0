"""Runtime: takes a model file and inputs, returns predictions. Loading, sessions, states, predictions in flight."""
