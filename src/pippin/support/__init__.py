"""Support: small vocabulary that every layer may use: cancellation, fork detection, units for people."""
