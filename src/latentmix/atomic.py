"""Files that appear complete or not at all: temporary name, fsync, rename; and locks that end with a process.

A process that is killed while it writes leaves a file with a temporary name. Its lock ends with it, so the
next writer in the same folder recognises the file as left over and removes it.
"""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

NEW = ".latentmix-new-"  # prefix of the names of unfinished files
OLDER = ".new-"  # the prefix of earlier versions, looked for in folders of runs only


def require_new(*paths: Path, option: str = "--out", renewed: bool = False) -> None:
    """Refuse, before any work is done for them, outputs that exist already: no file of a person is replaced.

    Folders above them need not exist; whoever writes an output makes them.

    Arguments:
        paths: Files or folders that belong together; the first has the name that a person chose.
        option: Where that name is given, for the message.
        renewed: Whether what lies there is known to be an earlier output of the same command.

    Raises:
        ValueError: Something else has this name, or a file lies where a folder is needed.
    """
    for path in paths:
        if os.path.lexists(path) and not renewed:
            raise ValueError(f"{path} exists already, and is kept; choose another {option}")
    above = next(each for each in paths[0].absolute().parents if os.path.lexists(each))
    if not above.is_dir():
        raise ValueError(
            f"{above} is a file, so {paths[0].name} cannot be written there; choose another {option}"
        )


def free_name(path: Path, beside: str = "") -> Path:
    """Return the first of NAME.png, NAME-2.png, NAME-3.png, ... that does not exist yet.

    Arguments:
        beside: Ending of a second file that will be written, NAME.png + `beside`, and must not exist either.
    """
    for number in itertools.count(1):
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if not os.path.lexists(free) and not os.path.lexists(f"{free}{beside}"):
            break
    return free


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name, sync it, and rename it.

    Raises:
        OSError: There is no room, or the folder cannot be written; the message names the file, which stays
            as it was.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Write files that belong together, such as a picture and its receipt.

    If the process is killed, some of the files may be missing, but files of two writings are never mixed.

    Raises:
        OSError: There is no room, or a folder cannot be written; the message names the file.
    """
    temporary: dict[Path, Path] = {}
    held: list[int] = []
    try:
        for path, content in contents.items():
            remove_leftovers(path.parent)
            with _naming(path):
                descriptor, temporary[path] = _begin(path.parent)
                held.append(descriptor)
                _write_all(
                    descriptor,
                    content.encode(errors="backslashreplace") if isinstance(content, str) else content,
                )
                temporary[path].chmod(0o644)
                os.fsync(descriptor)
        if fcntl is None:  # Windows renames no file that is open
            while held:
                os.close(held.pop())
        for path in list(contents)[1:]:
            path.unlink(missing_ok=True)  # from an earlier writing
        for path, new in temporary.items():
            with _naming(path):
                new.replace(path)
    except BaseException:
        for new in temporary.values():
            new.unlink(missing_ok=True)
        raise
    finally:
        for descriptor in held:
            os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes the file when the block ends: complete or not at all.

    Raises:
        OSError: There is no room, or the folder cannot be written; the file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    descriptor, temporary = _begin(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            temporary.chmod(0o644)
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, prefixes: tuple[str, ...] = (NEW,)) -> None:
    """Remove unfinished files of killed processes from a folder; files that are being written are kept."""
    for prefix in prefixes:
        for left in folder.glob(f"{prefix}*"):
            with suppress(OSError), left.open("rb") as stream:
                if _claim(stream.fileno()):
                    left.unlink()


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it arose from, is that of a full disk or a used-up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file or folder until the block or the process ends.

    File systems without locks ignore it, and so does Windows.

    Raises:
        BlockingIOError: Another process holds the lock, and `wait` is false.
        OSError: The file cannot be made.
    """
    if fcntl is None and path.is_dir():  # Windows opens no folder
        yield
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise
            except OSError:
                pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of the operating system name the file that was to be written."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror or error}, while writing", str(path)) from error


def _begin(folder: Path) -> tuple[int, Path]:
    """Create a temporary file and claim it, so that no other process removes it as unfinished."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=NEW)
        _claim(descriptor)
        if Path(name).exists():
            return descriptor, Path(name)
        os.close(descriptor)


def _claim(descriptor: int) -> bool:
    """Mark a file as being written for as long as it is open; return False if another process writes it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
