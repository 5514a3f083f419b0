"""Support: helpers that every layer may import: cancellation, fork detection, atomic writes, units, moved modules."""
