"""Read pickles without running them.

A pickle is a program: Python's own reader calls any function that the file names. This module
is another interpreter, which knows only the harmless instructions. It imports nothing and calls
nothing that a file names; for the few names that arrays need it has replacements.
"""

import codecs
import io
import os
import pickletools

from nyang_edu.utility.pickle_names import NAMES, Name, build
from nyang_edu.utility.plain import MAX_BITS, MAX_VALUES, UnsafeFileError, is_key, plain

__all__ = ["UnsafeFileError", "read_pickle"]

MAX_BYTES = 4 * 2**30
MAX_STEPS = 4 * MAX_VALUES  # instructions; enough for whatever plain() accepts
ONLY = "a model file holds only arrays and plain values"
_OTHERS = {  # how files begin that a pickle's name was given to
    b"PK": "a zip archive, as torch.save writes it: save the weights there as .safetensors",
    b"\x1f\x8b": "compressed: open it with gzip.open and pass the opened file",
    b"\x93NUMPY": "an array: read it with np.load", b"<": "a web page: the download went wrong",
    b"\x89PNG": "a picture",
}


def read_pickle(source, *, encoding="ASCII", max_bytes=MAX_BYTES):
    """Read a pickle that holds only arrays of numbers and plain values; run nothing of it.

    Args:
        source: a path, bytes, or a file opened in binary mode; protocols 0 to 5.
        encoding: of the strings of Python 2; "bytes" leaves them as bytes, as CIFAR-10 needs.
        max_bytes: the largest file that is read.

    Returns:
        arrays of numbers, NumPy scalars, dict, list, tuple, set, str, bytes, int, float, bool
        or None, nested.

    Raises:
        UnsafeFileError: for a name that arrays do not need, and for other dangers.
        ValueError: for a damaged file, or one over max_bytes.
        TypeError: where source is none of the three.

    Source: the standard library's pickletools.py, which describes each instruction.
    """
    if encoding != "bytes":
        codecs.lookup(encoding)  # LookupError here, and not in the middle of a file
    name, data = _read(source, max_bytes)
    for start, what in _OTHERS.items():
        if data.startswith(start):
            raise ValueError(f"{name} is no pickle but {what}")
    try:
        return plain(_Machine(data, encoding).run(), "its content")
    except (UnsafeFileError, TypeError) as error:
        raise UnsafeFileError(f"{name} was not loaded: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {error}") from None


def _read(source, max_bytes):
    """Return what to call the source, and its bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "the pickle", bytes(source)
    elif isinstance(source, str | os.PathLike):
        name, data = os.fspath(source), _read_path(source, max_bytes)
    elif hasattr(source, "read"):
        name, data = getattr(source, "name", "the file"), _read_file(source, max_bytes)
    else:
        raise TypeError("read_pickle takes a path, bytes or a binary file, received "
                        f"{type(source).__name__}")
    if len(data) > max_bytes:
        raise ValueError(f"{name} is larger than max_bytes={max_bytes:,}: raise it if you must")
    return name, data


def _read_path(path, max_bytes):
    """Read a file of the disk, up to one byte more than allowed."""
    if os.path.exists(path) and not os.path.isfile(path):  # a folder, or a pipe without end
        raise ValueError(f"{os.fspath(path)} is no file: pass the path of a file")
    with open(path, "rb") as file:
        return file.read(min(max_bytes, os.path.getsize(path)) + 1)  # sets that much aside


def _read_file(file, max_bytes):
    """Read an opened file up to one byte more than allowed, in parts: it may be without end."""
    parts, left = [], max_bytes + 1
    while left > 0 and (part := file.read(min(left, 2**20))):
        if not isinstance(part, bytes):
            raise TypeError("the file is opened as text: open it with mode 'rb'")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class _Tape(io.BytesIO):
    """The file's bytes, read one after another; ``view`` shows them all without a copy."""

    def __init__(self, data):
        super().__init__(data)
        self.view = memoryview(data)


class _Machine:
    """Pickle's stack machine, with those of its instructions that build plain values."""

    def __init__(self, data, encoding):
        self.file, self.encoding = _Tape(data), encoding
        self.stack, self.marks, self.memo = [], [], {}
        self.steps_left, self.copies_left = MAX_STEPS, 2 * len(data)

    def run(self):
        """Follow the instructions up to STOP; return what then lies on top."""
        while True:
            place = self.file.tell()
            try:
                code = self.file.read(1)
                self.step(code)
                if code == b".":
                    return self.stack[-1]
            except UnsafeFileError:
                raise
            except (LookupError, TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"damaged at byte {place} ({str(error)[:200]})") from None

    def step(self, code):
        """Carry out one instruction."""
        if code not in _OPCODES:
            raise ValueError(f"no instruction is {code!r}" if code else "the file ends")
        name, reader, action = _OPCODES[code]
        argument = reader(self.file) if reader else None
        if action is None:
            what = argument.replace(" ", ".") if name == "INST" else _WORDS.get(
                name, f"the instruction {name}")
            raise UnsafeFileError(f"refuses {what[:200]}: {ONLY}")
        self.count_steps(1)
        action(self, argument)

    def count_steps(self, count):
        """Refuse work without end."""
        self.steps_left -= count
        if self.steps_left < 0:
            raise UnsafeFileError(f"refuses more than {MAX_STEPS:,} instructions: {ONLY}")

    def count_copy(self, size):
        """Refuse to copy more than twice the file: text into bytes, and bytes into an array."""
        self.copies_left -= size
        if self.copies_left < 0:
            raise UnsafeFileError("refuses to copy the same bytes again and again")

    def push(self, value):
        """Put a value on the stack."""
        self.stack.append(value)

    def push_int(self, value):
        """Put an int on the stack, unless it is far too long."""
        if value.bit_length() > MAX_BITS:
            raise UnsafeFileError(f"refuses an int of more than {MAX_BITS} bits")
        self.push(value)

    def push_python2(self, value):
        """Put a string of Python 2 on the stack."""
        try:
            self.push(value if self.encoding == "bytes" else value.decode(self.encoding))
        except UnicodeDecodeError:
            raise ValueError("a string of Python 2 is no text: try encoding='bytes'") from None

    def pop(self, count):
        """Take count values from the top, the lowest first."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("the stack holds too little")
        return self.cut(start)

    def pop_to_mark(self):
        """Take all values above the latest mark."""
        return self.cut(self.marks.pop())

    def cut(self, start):
        """Take the values from a place on."""
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def fill(self, target, values):
        """Add values to a list, set or dict (key, value, key, value, …), and return it."""
        if type(target) is list:
            target.extend(values)
            return target
        if type(target) not in (set, dict):
            raise ValueError(f"a {type(target).__name__} cannot be added to")
        keys = values[::2] if type(target) is dict else values
        if not all(map(is_key, keys)):
            raise UnsafeFileError("refuses a key or set member that is neither text nor a number "
                                  "of at most 64 bits")
        target.update(keys if type(target) is set else zip(keys, values[1::2], strict=True))
        return target

    def look_up(self, name):
        """Put the replacement for a known name on the stack; refuse any other name."""
        if name not in NAMES:
            raise UnsafeFileError(f"refuses {name[:200]}: {ONLY}")
        self.push(NAMES[name])

    def look_up_from_stack(self):
        """Take a module and a name from the stack, and look them up."""
        names = self.pop(2)
        if not all(type(one) is str for one in names):
            raise ValueError("a name that is no text")
        self.look_up(".".join(names))

    def call(self):
        """Call a replacement, the only thing that can be called."""
        function, arguments = self.pop(2)
        if type(function) is not Name or type(arguments) is not tuple:
            raise UnsafeFileError(f"refuses to call a {type(function).__name__}: {ONLY}")
        self.push(function.use(self, *arguments))

    def build(self):
        """Give the state on top to the value below it."""
        target, state = self.pop(2)
        build(self, target, state)
        self.push(target)

    def remember(self, place):
        """Keep the value on top under a number."""
        self.memo[place] = self.stack[-1]


def _actions():
    """Return a dict: the instruction's name → what (machine, argument) has to be done."""
    text = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
    data = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
    table = {name: _Machine.push for name in (*text, *data, "FLOAT", "BINFLOAT")}
    for name in ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"):
        table[name] = _Machine.push_int
    for name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
        table[name] = _Machine.push_python2
    for name in ("PUT", "BINPUT", "LONG_BINPUT"):
        table[name] = _Machine.remember
    for name in ("GET", "BINGET", "LONG_BINGET"):
        table[name] = lambda m, place: m.push(m.memo[place])
    for name, value in {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}.items():
        table[name] = lambda m, _, value=value: m.push(value)
    for name, make in {"LIST": list, "DICT": dict, "SET": set, "TUPLE": tuple}.items():
        table[f"EMPTY_{name}"] = lambda m, _, make=make: m.push(make())
    for count in (1, 2, 3):
        table[f"TUPLE{count}"] = lambda m, _, count=count: m.push(tuple(m.pop(count)))
    for name in ("APPENDS", "SETITEMS", "ADDITEMS"):
        table[name] = lambda m, _: m.fill(m.stack[m.marks[-1] - 1], m.pop_to_mark())
    table |= dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, _: None)
    table |= {
        "MARK": lambda m, _: m.marks.append(len(m.stack)),
        "POP": lambda m, _: m.pop(1), "POP_MARK": lambda m, _: m.pop_to_mark(),
        "DUP": lambda m, _: m.push(m.stack[-1]), "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
        "LIST": lambda m, _: m.push(m.pop_to_mark()),
        "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
        "DICT": lambda m, _: m.push(m.fill({}, m.pop_to_mark())),
        "APPEND": lambda m, _: m.fill(m.stack[-2], m.pop(1)),
        "SETITEM": lambda m, _: m.fill(m.stack[-3], m.pop(2)),
        "GLOBAL": lambda m, name: m.look_up(name.replace(" ", ".", 1)),
        "STACK_GLOBAL": lambda m, _: m.look_up_from_stack(),
        "REDUCE": lambda m, _: m.call(), "BUILD": lambda m, _: m.build(),
    }
    return table


def _read_quoted(file):
    """Read a string of protocol 0: quoted, in one line, with backslashes."""
    text = file.readline().strip()
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0]


def _read_view(file):
    """Read the bytes of an array without copying them: 8 bytes of length, then the bytes."""
    size, start = pickletools.read_uint8(file), file.tell()
    if file.seek(size, io.SEEK_CUR) > len(file.view):
        raise ValueError("the file ends")
    return file.view[start:start + size]


def _opcodes():
    """Return a dict: the instruction's byte → its name, reader of its argument, action."""
    actions = _actions()
    readers = {"STRING": _read_quoted, "BYTEARRAY8": _read_view,
               "BINSTRING": lambda file: pickletools.read_string4(file).encode("latin-1"),
               "SHORT_BINSTRING": lambda file: pickletools.read_string1(file).encode("latin-1")}
    return {op.code.encode("latin-1"): (
        op.name, readers.get(op.name, op.arg and op.arg.reader), actions.get(op.name))
        for op in pickletools.opcodes}


_OPCODES = _opcodes()
_WORDS = {**dict.fromkeys(("PERSID", "BINPERSID"), "a reference to something outside of the file"),
          **dict.fromkeys(("EXT1", "EXT2", "EXT4"), "a name from the extension registry")}
