"""Flow: many predictions of one model at once: how many run, which wait, which are refused."""
