"""Damaged files: whatever is wrong with a file becomes an error of one line that names it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable

from latentmix.data.split import Decoded

DEFLATE = 1032  # the largest ratio by which the compression of .zip files makes bytes fewer


def check_zip(archive: zipfile.ZipFile) -> None:
    """Check that a .zip file says the same about its members in both places: their number and their names.

    Raises:
        ValueError: It lists another number of members than it counts.
        zipfile.BadZipFile: A member has two names.
    """
    assert archive.fp is not None
    archive.fp.seek(0, 2)
    archive.fp.seek(max(0, archive.fp.tell() - 65_558))
    tail = archive.fp.read()
    place = tail.rfind(b"PK\5\6")
    counted = int.from_bytes(tail[place + 10 : place + 12], "little") if place >= 0 else 0xFFFF
    if counted not in (0xFFFF, len(archive.filelist)):  # the former in archives of 65,535 members or more
        raise ValueError(f"it is damaged (it lists {len(archive.filelist):,} of {counted:,} members)")
    for info in archive.filelist:
        archive.open(info).close()


def guarded(path: str, work: Callable[[], Decoded]) -> Decoded:
    """Call `work`, which reads a file that may be damaged, and name the file in whatever error it raises.

    Arguments:
        path: What errors call the file.
        work: Reads the file.

    Raises:
        ValueError: The file is damaged or unsuitable, or needs more memory than there is.
        OSError: The file cannot be opened, or the disk is full.
    """
    try:
        return work()
    except FileNotFoundError:
        raise
    except MemoryError:
        raise ValueError(f"{path} cannot be used: it needs more memory than there is") from None
    except ValueError as error:
        if isinstance(error, UnicodeError):
            raise ValueError(f"{path} cannot be used: it is damaged ({one_line(error)})") from error
        raise ValueError(f"{path} cannot be used: {one_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be used: it is damaged ({one_line(error)})") from error
    except Exception as error:  # decoders raise anything at all on damaged bytes
        raise ValueError(f"{path} cannot be used: it is damaged ({one_line(error)})") from error


def one_line(error: Exception) -> str:
    """Return the message of an error in one line of at most 300 characters; its class if it has none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
