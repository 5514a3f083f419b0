"""Flow: concurrent predictions of one model enter; each runs, waits or is refused; outputs or errors leave."""
