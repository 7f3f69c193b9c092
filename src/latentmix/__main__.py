"""``python -m latentmix``: the command line."""

from latentmix.cli import main

main()
