"""Keep the answers of a released course out of sight.

A release without solutions still has to check, so its sources travel compressed and its modules
hold the exercises' code compressed. That deters reading; whoever unpacks it can read it.
"""

import base64
import zlib
from pathlib import Path

from .files import CourseError, read_text

SEALED = ".key"  # the suffix of a compressed source, where an open one has .py
SEALED_CODE = "<sealed "  # marks code in a module that runs but does not show


def seal(text):
    """The bytes of a ``.key`` file."""
    return zlib.compress(text.encode("utf-8"), 9)


def read_source(path):
    """The text of a chapter's source, open or sealed."""
    if Path(path).suffix != SEALED:
        return read_text(path)
    try:
        return zlib.decompress(Path(path).read_bytes()).decode("utf-8")
    except (zlib.error, UnicodeDecodeError):
        raise CourseError(f"{path} is damaged: take it again from the course as it was handed "
                          "out (with Git: git checkout -- solutions).") from None


def sealed_code(source, label):
    """Python code that does what ``source`` does and does not show it."""
    packed = base64.b85encode(seal(source)).decode()
    lines = "\n".join(f'    b"{packed[at:at + 72]}"' for at in range(0, len(packed), 72))
    opened = f'__import__("zlib").decompress(__import__("base64").b85decode(\n{lines}))'
    return f'exec(compile({opened}, "{SEALED_CODE}{label}>", "exec"))'
