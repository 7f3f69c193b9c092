"""The command line: it dispatches commands and prints help, results and errors."""

from __future__ import annotations

import sys

from latentmix.cli.imports import uncollected


def main() -> None:
    """Run a command and exit with its status; an interruption ends it with one line, also while it loads."""
    try:
        with uncollected():
            from latentmix.cli.dispatch import dispatch

        dispatch()
    except KeyboardInterrupt as error:  # also a training that was stopped, which says what it saved
        print(f"latentmix: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(130)
