"""Take the notebooks out of archives from learning platforms, whatever else is in them.

Only notebooks and archives in archives are read, into memory and up to a size. Nothing is
written under a name that an archive chooses, so no name can lead anywhere.
"""

import io
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass

from .hand_ins import MOST_BYTES

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_ENTRIES, MOST_IN_ALL, DEEPEST = 20_000, 1 << 30, 3
_BROKEN = (OSError, ValueError, RuntimeError, EOFError, KeyError, NotImplementedError,
           zipfile.BadZipFile, tarfile.TarError, zlib.error)


@dataclass
class Budget:
    """What may still be read out of one archive and all those in it."""

    entries: int = MOST_ENTRIES
    data: int = MOST_IN_ALL

    def take(self, size):
        """Count one entry of this size; True while it fits."""
        self.entries -= 1
        self.data -= size
        return self.entries >= 0 and self.data >= 0


def is_archive(name):
    """True for the name of an archive that can be opened."""
    return name.lower().endswith(ENDINGS)


def entry_names(archive):
    """The names of all entries that matter, refused ones included; none if it is unreadable."""
    try:
        return [name for name, _, _, refused in _entries(archive) if refused or _matters(name)]
    except _BROKEN:
        return []


def _matters(name):
    return is_archive(name) or name.lower().endswith((".ipynb", "progress.json"))


def unpack(archive, budget=None, depth=0, only=None):
    """Yield (name, bytes or None, note) of each notebook in an archive, nested ones included.

    ``archive`` is a path or the bytes; ``only`` names the one entry that is asked for. A refused
    entry comes with None and the reason; an unreadable archive as one such entry.
    """
    budget = budget or Budget()
    try:
        for name, size, read, refused in _entries(archive):
            if only not in (None, name) or not (refused or _matters(name)):
                continue
            if refused:
                yield name, None, refused
                continue
            most = MOST_BYTES if not is_archive(name) else MOST_IN_ALL
            if not budget.take(min(size, most)):
                yield name, None, "the archive holds too much"
                return
            yield from _one(name, _bounded(read, most), budget, depth)
    except _BROKEN as error:
        yield "", None, f"the archive cannot be read: {error}"[:300]


def _one(name, content, budget, depth):
    if content is None:
        yield name, None, "it is larger than it may be"
    elif not is_archive(name):
        yield name, content, ""
    elif depth >= DEEPEST:
        yield name, None, "archives are nested too deep"
    else:
        for inner, data, note in unpack(content, budget, depth + 1):
            yield f"{name}!/{inner}", data, note


def _bounded(read, most):
    """What ``read(count)`` gives, or None where it is more: sizes in a header may lie."""
    content = read(most + 1)
    return None if len(content) > most else content


def _entries(archive):
    """Yield (name, size, read, why it is refused) of each file in a zip or tar."""
    with io.BytesIO(archive) if isinstance(archive, bytes) else open(archive, "rb") as file:
        yield from _in_zip(file) if zipfile.is_zipfile(file) else _in_tar(file)


def _in_zip(file):
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                name, kind = _zip_name(info), stat.S_IFMT(info.external_attr >> 16)
                yield name, info.file_size, _reader(archive.open, info), _refusal(name, kind)


def _in_tar(file):
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        for info in archive:
            if not info.isdir():
                kind = stat.S_IFREG if info.isfile() else stat.S_IFLNK
                yield (info.name, info.size, _reader(archive.extractfile, info),
                       _refusal(info.name, kind))


def _reader(open_, info):
    def read(count):
        with open_(info) as file:
            return file.read(count)

    return read


def _refusal(name, kind):
    parts = name.replace("\\", "/").split("/")
    if kind not in (0, stat.S_IFREG):
        return "it is a link or a device, no file"
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        return "its name leads out of the archive"
    return ""


def _zip_name(info):
    """An entry's name; old tools write it in the code page of their country."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    for encoding in ("utf-8", "cp949"):
        try:
            return info.filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return info.filename
