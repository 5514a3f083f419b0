"""Cache: what was specialized, kept on disk: keyed by content, explainable, atomic, bounded."""
