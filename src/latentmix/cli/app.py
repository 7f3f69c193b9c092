"""What all commands share: the application, error messages, devices, and the printing of scores."""

from __future__ import annotations

import dis
import errno
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter, Token, validators

import latentmix
from latentmix.outside import is_ours

LESS_MEMORY = "a smaller batch_size, image_size, network or number of images needs less"
NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|Cannot allocate memory|std::bad_alloc|bad allocation|"
    r"could not create a (?:primitive|memory)"
)
EXIT_CODES = (
    "Exit codes: 0 done; 2 a mistake that you can correct; 130 interrupted; 1 numbers that are not finite, "
    "unfinished trainings of a table, output that nobody reads, or a fault, with its traceback."
)
app = App(
    name="latentmix",
    help="Train autoencoders whose mixed codes decode to realistic samples, judge them, use the mixes.",
    help_epilogue=EXIT_CODES,
    version=latentmix.__version__,
    help_flags=["--help", "-h"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(json_list=False, json_dict=False),  # [1].png is the name of a file
)


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    text = tokens[0].value
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text) is None:
        raise ValueError(f"{text[:60]!r} is not a whole number")
    return int(text)


def _place(kind: object, tokens: Sequence[Token]) -> Path:
    if not tokens[0].value:
        raise ValueError("a path without a character; . is the folder in which you are")
    path = Path(tokens[0].value)
    try:
        return path.expanduser() if tokens[0].value.startswith("~") else path
    except RuntimeError as error:  # there is no user of this name
        raise ValueError(f"{error}; ./{path} is what lies here") from None


Whole = Annotated[int, Parameter(converter=_whole)]  # cyclopts reads 2.9 as 3
Count = Annotated[Whole, Parameter(validator=validators.Number(gte=1, lte=10**6))]
Port = Annotated[Whole, Parameter(validator=validators.Number(gte=0, lte=65535))]
Place = Annotated[Path, Parameter(converter=_place)]  # a path in which ~ is the home folder
Seed = Annotated[Whole, Parameter(validator=validators.Number(gte=0, lt=2**31))]
# Options that several commands take, with their help; what differs in one of them is in its docstring.
Checkpoint = Annotated[
    Literal["best", "last"] | None,
    Parameter(help="Which weights to use; by default those of the best epoch, as the method defines it."),
]
DataPath = Annotated[str | None, Parameter(help="Where the data are now, if they have been moved.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, ...")]
Allow = Annotated[
    tuple[str, ...],
    Parameter(
        negative=(),
        help="A Python file with parts that were used in the training, such as ./my_file.py; "
        "it will be executed.",
    ),
]


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error to standard error and exit."""
    print(f"latentmix: {brief(message)}", file=sys.stderr)
    sys.exit(code)


def brief(text: str) -> str:
    """Shorten words of a message that are longer than two lines; typed values may be of any length."""
    return re.sub(r"\S{160,}", lambda long: f"{long[0][:60]}... ({len(long[0]):,} characters)", text)


def mistake(error: Exception) -> str | None:
    """Say what a user can do about an error; None if it is a fault of the program."""
    text = str(error)
    name = type(error).__name__  # torch's errors are told by their names, as torch is not imported here
    if name == "OutOfMemoryError":
        return f"the GPU's memory is full; {LESS_MEMORY}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY.search(text)):
        asked = re.search(r"tried to allocate (\d+) bytes", text) or re.search(
            r"allocate ([\d.]+ [KMGTP]iB)", text
        )
        size = (
            ""
            if asked is None
            else f", {asked[1]} bytes at once"
            if asked[1].isdigit()
            else f", {asked[1]} at once"
        )
        return f"there is not enough memory{size}; {LESS_MEMORY}"
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop"):
        return f"{text}: a link that leads to itself"
    if not isinstance(error, (ValueError, OSError)) or not (isinstance(error, OSError) or _is_refusal(error)):
        return None
    if isinstance(error, FileExistsError) and error.errno and error.filename:
        return f"{error.filename}: a file lies where a folder is needed; move it away, or name another folder"
    if isinstance(error, NotADirectoryError) and error.errno and error.filename:
        return f"{error.filename}: what this path names as a folder is a file; name another folder"
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        return f"{text}: free some room and repeat the command"
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, Path)):
        return f"{error.filename}: {error.strerror}"
    return text or name


def _is_refusal(error: Exception) -> bool:
    """Whether a `raise` statement of latentmix, or of a part of the user's, refused something by this error.

    Others come from inside a library, or from an expression, such as an unpacking: they are faults.
    """
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:  # made and never raised, as the reason why a metric does not apply
        return True
    statement = dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]]
    return statement == "RAISE_VARARGS" and is_ours(place.tb_frame.f_globals.get("__name__", ""))


def device_of(name: str) -> str:
    """Return the device with this name; "auto" takes the best one.

    Raises:
        ValueError: This machine has no such device.
    """
    from latentmix.training.device import find_device

    return str(find_device(name))


def note(text: str) -> None:
    """Print a message to standard error."""
    print(brief(text), file=sys.stderr)


def print_scores(scores: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Print each number with its meaning, and in what a run that names protocol=paper differs from it."""
    from latentmix.config import protocol
    from latentmix.reports.numbers import about, shown

    for name, score in scores.items():
        for key, value in score["values"].items():
            if key.startswith("last_") and value == score["values"].get(key[5:]):
                continue  # the best epoch is the last
            line = f"{name:14} {key:32} {shown(key, value, name):>9}  {about(name, key).sentence}"
            print(line.rstrip())
    for line in protocol.deviations(settings) if scores else ():
        print(f"unlike protocol=paper: {line}")
