"""Files that may be damaged in any way: errors name them, and are no tracebacks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable

from latentmix.data.split import Decoded

DEFLATE = 1032  # times that its best compression makes bytes smaller


def check_zip(archive: zipfile.ZipFile) -> None:
    """Compare what a .zip says about its members in two places: their number and their names.

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
    """Do what reads a file that may be damaged in any way, so that errors name it.

    Raises:
        ValueError: Whatever is wrong with the file.
        OSError: The disk is full, or the file cannot be opened.
    """
    try:
        return work()
    except FileNotFoundError:
        raise
    except MemoryError:
        raise ValueError(f"{path} cannot be used: it needs more memory than there is") from None
    except ValueError as error:
        if isinstance(error, UnicodeError):
            raise ValueError(f"{path} cannot be used: it is damaged ({_line(error)})") from error
        raise ValueError(f"{path} cannot be used: {_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be used: it is damaged ({_line(error)})") from error
    except Exception as error:  # decoders raise anything at all on damaged bytes
        reason = _line(error) or type(error).__name__
        raise ValueError(f"{path} cannot be used: it is damaged ({reason})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
