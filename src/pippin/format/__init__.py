"""Format: bytes on disk or in memory become an Asset; weights are mapped, never copied."""
