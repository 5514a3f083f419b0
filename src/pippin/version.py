"""Version: of this package; part of the cache's key."""

__version__ = "0.1.0"
