"""`python -m pippin` is the command line."""

from .cli import main

main()
