"""Commands as a person types them: each in a process, a folder and streams of its own.

`script` starts the installed command. `typed` does the same, in a tenth of the time, in a process forked
from a server that has imported what commands import.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LATENTMIX = Path(sys.executable).with_name("latentmix")
SCREEN = (24, 80)  # lines and columns of the smallest terminal in use

ROOT = Path(find_spec("latentmix").origin).parent  # type: ignore[union-attr, arg-type]
# Every command looks through the modules that have parts.
PARTS = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for package in ("data/sources", "methods", "metrics", "mixing", "networks")
    for path in sorted(ROOT.joinpath(package).glob("[!_]*.py"))
]

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "latentmix.cli",
        "latentmix.reports.exhibit",
        "latentmix.apps.mix_images",
        "latentmix.training.loop",
        "matplotlib.pyplot",
        "pyarrow.dataset",
        "sklearn.datasets",
        "sklearn.linear_model",
        "torch.utils.tensorboard",
        *PARTS,
    ]
)


class Finished(NamedTuple):
    """What a command left behind: exit code (minus the signal that ended it), standard output and error."""

    code: int
    out: str
    err: str


def script(*arguments: object, cwd: Path, **environment: str) -> Finished:
    """Run the installed `latentmix` to its end."""
    command = [str(LATENTMIX), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def typed(*arguments: object, cwd: Path, first: Callable[[], object] | None = None) -> Finished:
    """Run a command to its end in a forked process.

    Arguments:
        first: Called in that process before the command: sets a limit or a constant; a function of a module.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        words = ["latentmix", *map(str, arguments)]
        process = _SERVER.Process(target=_run, args=(words, cwd, dict(os.environ), out, err, first))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Finished(process.exitcode, out.read_text(), err.read_text())


def refusal(done: Finished) -> str:
    """The message of a command that a user's mistake ended: exit code 2, on one screen, and no traceback."""
    assert done.code == 2, done
    assert "Traceback" not in done.err, done.err
    assert done.err.strip(), "an error without a word"
    lines, columns = SCREEN
    assert sum(1 + len(line) // columns for line in done.err.splitlines()) < lines, done.err
    return done.err


def _run(
    words: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path, first: Callable | None
) -> None:
    os.chdir(cwd)
    os.environ.update(environment)
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    if first is not None:
        first()
    from latentmix import cli

    sys.argv = words
    cli.main()
