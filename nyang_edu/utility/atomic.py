"""Replace a file as a whole or not at all, whatever stops the program in between."""

import contextlib
import os
import secrets
import time
from pathlib import Path

HOUR = 3600


@contextlib.contextmanager
def replacing(path):
    """Yield a binary file whose bytes become the file at ``path`` when the block ends well.

    They are written beside it, forced to the disk, and put in its place by one rename. Where the
    block raises, the old file stays as it is and nothing is left beside it.

    Raises:
        IsADirectoryError, FileNotFoundError: where path is a folder, or lies in none.
        OSError: where the disk is full, or cannot be written.
    """
    path = Path(path).resolve()  # the file behind a link
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: add a file's name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: create it first")
    _tidy(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.saving")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _tidy(path):
    """Remove what a killed process left here; an hour later nobody writes it any more."""
    for old in path.parent.glob(f".{path.name}.????????.saving"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > HOUR:
                old.unlink()


def _sync_folder(folder):
    """Force the new name to the disk, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
