"""Interface: generates a typed Python module. A model description enters; Python source leaves."""
