"""Main: `python -m pippin` runs the command line."""

from .apps.cli import main

main()
