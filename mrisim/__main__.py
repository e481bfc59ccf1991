"""`python -m mrisim`."""

from mrisim.cli import main

main()
