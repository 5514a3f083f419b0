"""`python -m pippin` is the command line."""

from .apps.cli import main

main()
