"""Pickles that nobody should load: those that run code, ask for too much, or are broken.

Each is written by hand, instruction by instruction. test_safe_pickle.py shows what becomes of them.
"""

import pickle
import struct
from pathlib import Path

import numpy as np

CANARY = "canary"
MAKE = f"open({CANARY!r}, 'w').close()"


class Trap:
    """Writes the canary when its state is set."""

    def __setstate__(self, state):
        Path(CANARY).touch()


class Callback:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def called(name, *arguments):
    """A pickle, without its end, that calls module.name with arguments (bytes of pickles)."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def by_stack(module, name, *arguments):
    return text(module) + text(name) + b"\x93(" + b"".join(arguments) + b"tR"


def in_array(payload):
    """An array of objects that holds a payload."""
    return pickle.dumps(np.array([payload, 1], dtype=object))


SYSTEM = called("os.system", text(f"echo > {CANARY}"))
RUN = text(MAKE)
IMPORT_OS = called("builtins.__import__", text("os"))
DTYPE = called("numpy.dtype", text("f4"), b"\x89\x88")
ARRAY = called("numpy._core.multiarray._reconstruct", b"cnumpy\nndarray\n", b"K\x00\x85", b"C\x01b")
STATE_O = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"


def fields(payload):
    """A dtype with fields, one of them the payload's result."""
    return (called("numpy.dtype", text("V8"), b"\x89\x88") + b"(K\x03" + text("|") + b"N"
            + text("a") + b"\x85}" + text("a") + payload + b"K\x00\x86sK\x08K\x01K\x10tb")


# name: (pickle without its end, what the error must say); plain pickle runs each of them
FIRING = {
    "os.system": (SYSTEM, "os.system"),
    "posix.system": (called("posix.system", text(f"echo > {CANARY}")), "posix.system"),
    "eval": (called("builtins.eval", RUN), "builtins.eval"),
    "exec": (called("builtins.exec", RUN), "builtins.exec"),
    "eval of Python 2": (called("__builtin__.eval", RUN), "__builtin__.eval"),
    "a name from the stack": (by_stack("os", "mkdir", text(CANARY)), "os.mkdir"),
    "a dotted name from the stack": (
        b"\x80\x04" + by_stack("pathlib", "Path.touch", called("pathlib.Path", text(CANARY))),
        "pathlib.Path"),
    "a dotted name below numpy": (
        b"\x80\x04" + by_stack("numpy.lib._npyio_impl", "os.mkdir", text(CANARY)),
        "numpy.lib._npyio_impl.os.mkdir"),
    "getattr": (b"cbuiltins\ngetattr\n(" + IMPORT_OS + text("mkdir") + b"tR(" + text(CANARY)
                + b"tR", "builtins.getattr"),
    "import_module": (b"cbuiltins\ngetattr\n(" + called("importlib.import_module", text("os"))
                      + text("mkdir") + b"tR(" + text(CANARY) + b"tR", "builtins.getattr"),
    "subprocess": (called("subprocess.check_call", b"]" + text("touch") + b"a" + text(CANARY)
                          + b"a"), "subprocess.check_call"),
    "open": (called("builtins.open", text(CANARY), text("w")), "builtins.open"),
    "a class of io": (called("io.FileIO", text(CANARY), text("w")), "io.FileIO"),
    "INST": (b"(" + text(CANARY) + b"ios\nmkdir\n", "os.mkdir"),
    "OBJ": (b"(cio\nFileIO\n" + text(CANARY) + text("w") + b"o", "io.FileIO"),
    "NEWOBJ and a state": (f"\x80\x02c{__name__}\nTrap\n)\x81}}b".encode("latin-1"), "Trap"),
    "a state without REDUCE": (
        f"ccopyreg\n_reconstructor\n(c{__name__}\nTrap\ncbuiltins\nobject\nNtR}}b".encode(),
        "copyreg._reconstructor"),
    "the extension registry": (b"\x80\x02\x82\xf0(" + text(CANARY) + b"tR", "extension registry"),
    "a pickle in a pickle": (called("pickle.loads", b"B" + struct.pack("<I", len(SYSTEM) + 1)
                                    + SYSTEM + b"."), "pickle.loads"),
    "functools.partial": (called("functools.partial", b"cos\nmkdir\n", text(CANARY)) + b")R",
                          "functools.partial"),
    "operator.methodcaller": (
        called("operator.methodcaller", text("mkdir"), text(CANARY)) + b"(" + IMPORT_OS + b"tR",
        "operator.methodcaller"),
    "map in a list": (called("builtins.list", called("builtins.map", b"cos\nmkdir\n", b"]"
                                                     + text(CANARY) + b"a")), "builtins.list"),
    "timeit": (called("timeit.timeit", RUN, text("pass"), b"cbuiltins\nint\n", b"K\x01"),
               "timeit.timeit"),
    "code": (called("code.InteractiveInterpreter") + b"0" + called("builtins.exec", RUN),
             "code.InteractiveInterpreter"),
    "a gadget in f2py": (called("numpy.f2py.crackfortran.myeval", text(MAKE), b"}", b"}"),
                         "numpy.f2py.crackfortran.myeval"),
    "a gadget in numpy.testing": (
        called("numpy.testing._private.utils.runstring", text(MAKE), b"}"),
        "numpy.testing._private.utils.runstring"),
    "numpy.load": (called("numpy.load", text("payload.npy"), b"N\x88"), "numpy.load"),
    "numpy.ndarray.tofile": (
        b"\x80\x04" + by_stack("numpy", "ndarray.tofile", pickle.dumps(np.zeros(2))[:-1],
                               text(CANARY)), "numpy.ndarray.tofile"),
    "an array of objects": (in_array(Callback(exec, MAKE))[:-1], "dtype 'O8'"),
    "a dtype with fields": (fields(called("builtins.exec", RUN) + b"0" + DTYPE), "dtype 'V8'"),
    "nested calls": (called("builtins.print", called("builtins.print", SYSTEM)), "builtins.print"),
    "after a plain value": (b"}" + text("weights") + pickle.dumps(np.zeros(3), 2)[2:-1] + b"s0"
                            + SYSTEM, "os.system"),
    "thrown away": (SYSTEM + b"0K\x01", "os.system"),
    "in a key": (b"}" + SYSTEM + b"K\x01s", "os.system"),
    "for an argument": (called("numpy.dtype", SYSTEM), "os.system"),
    "in an array's state": (ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89" + SYSTEM + b"tb",
                            "os.system"),
}


def doubled(levels, kind):
    """Levels of (x, x) or [x, x], where each x is one object: 2**levels when written out."""
    step = b"2\x86" if kind is tuple else b"q\x00]h\x00ah\x00a"
    return (b")" if kind is tuple else b"]") + step * levels


BYTES = b"B" + struct.pack("<I", 100_000) + bytes(100_000)
# name: (pickle, what the error must say)
REFUSED = {
    "persistent id": (b"Pmine\n.", "outside of the file"),
    "persistent id from the stack": (b"K\x01Q.", "outside of the file"),
    "a name that is left over": (b"cnumpy\nndarray\n.", "Name"),
    "a call of numpy.ndarray": (b"\x80\x02" + called("numpy.ndarray", b"K\x05\x85") + b".",
                                "numpy.ndarray"),
    "NEWOBJ of a known name": (b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81.", "NEWOBJ"),
    "another array class": (
        called("numpy._core.multiarray._reconstruct", b"cnumpy\ndtype\n", b"K\x00\x85", b"C\x01b")
        + b".", "array class"),
    "a call of text": (text("x") + b")R.", "call a str"),
    "the state of a list": (b"]}b.", "state of a list"),
    "the state of a name": (b"cnumpy\nndarray\n}b.", "state of a Name"),
    "dtype object": (called("numpy.dtype", text("O8"), b"\x89\x88") + STATE_O + b".", "'O8'"),
    "dtype with a field of objects": (fields(DTYPE) + b".", "'V8'"),
    "dtype of fields by its state": (
        DTYPE + b"(K\x03" + text("<") + b"N(" + text("a") + b"t}K\x08K\x01K\x10tb.", "fields"),
    "dtype by a list": (called("numpy.dtype", b"]" + text("O") + b"a") + b".", "dtype"),
    "a list of objects in an array": (ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89]tb.", "objects"),
    "an array twice": (ARRAY + (b"(K\x01K\x01\x85" + DTYPE + b"\x89C\x04\0\0\0\0tb") * 2 + b".",
                       "twice"),
    "an unfinished array": (ARRAY + b".", "Box"),
    "text": (pickle.dumps(np.array(["a", "bc"])), "'U2'"),
    "dates": (pickle.dumps(np.array(["2020-01-01"], "M8[D]")), "'M8'"),
    "a record": (pickle.dumps(np.zeros(2, [("a", "f4")])), "'V4'"),
    "a masked array": (pickle.dumps(np.ma.zeros(2)), "numpy.ma.core._mareconstruct"),
    "a generator": (pickle.dumps(np.random.default_rng(0)), "numpy.random._pickle"),
    "complex": (pickle.dumps(1j), "builtins.complex"),
    "an object": (pickle.dumps(Trap()), "Trap"),
    "a set of tuples": (pickle.dumps({(1, 2)}), "set member"),
    "an int without end": (pickle.dumps(1 << 5000), "1024 bits"),
    "an int for a key": (pickle.dumps({1 << 80: 1}), "64 bits"),
    "a key that takes 2**60 steps to hash": (b"}" + doubled(60, tuple) + b"K\x01s.", "key"),
    "the same bytes again and again": (
        BYTES + b"q\x000" + (ARRAY + b"(K\x01" + b"M\xa8\x61\x85" + DTYPE + b"\x89h\x00tb0") * 3
        + b"N.", "again and again"),
    "the same text again and again": (
        text("x" * 100_000) + b"q\x000" + called("_codecs.encode", b"h\x00", text("latin1")) * 3
        + b".", "again and again"),
    "another codec": (called("_codecs.encode", text("x"), text("zip")) + b".", "latin1"),
}


def sized(opcode, size, form="<Q"):
    return opcode + struct.pack(form, size) + b"abc."


def huge(*shape):
    numbers = b"".join(b"\x8a\x08" + struct.pack("<q", size) for size in shape)
    return ARRAY + b"(K\x01(" + numbers + b"t" + DTYPE + b"\x89C\x04\0\0\0\0tb."


# name: (pickle, what the error must say)
BROKEN = {
    "nothing": (b"", "the file ends"),
    "no pickle": (b"hello", "damaged at byte"),
    "a picture": (b"\x89PNG\r\n", "no pickle but a picture"),
    "bytes of 4 EB": (sized(b"\x8e", 2**62), "damaged"),
    "bytes of 16 EB": (sized(b"\x8e", 2**64 - 1), "damaged"),
    "text of 4 EB": (sized(b"\x8d", 2**62), "damaged"),
    "an array's bytes of 4 EB": (sized(b"\x96", 2**62), "damaged"),
    "an array's bytes of 16 EB": (sized(b"\x96", 2**64 - 1), "damaged"),
    "bytes of 4 GB": (sized(b"B", 2**32 - 1, "<I"), "damaged"),
    "an int of 2 GB": (sized(b"\x8b", 2**31 - 1, "<I"), "damaged"),
    "an int of negative length": (sized(b"\x8b", 2**32 - 1, "<I"), "damaged"),
    "an int of 100,000 digits": (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
    "an array of 10**12": (huge(10**12), "cannot have 4 bytes"),
    "an array of 2**63 times 2": (huge(2**62, 4), "cannot have 4 bytes"),
    "an array of -1": (huge(-1), "shape"),
    "an array of nothing times 10**18": (huge(0, 10**18, 10**18), "bytes"),
    "an array of 70 axes": (huge(*[1] * 70), "damaged"),
    "levels without end": (b"]" * 40_000 + b"a" * 39_999 + b".", "levels"),
    "tuples without end": (b")" + b"\x85" * 40_000 + b".", "levels"),
    "levels in a dict": (b"}K\x01" * 30_000 + b"N" + b"s" * 30_000 + b".", "levels"),
    "levels in shared lists": (b"](]q\x00" + b"]h\x00aq\x00" * 200 + b"e.", "levels"),
    "a billion laughs": (doubled(60, list) + b".", "500,000 values"),
    "a ring": (b"]2a.", "contains itself"),
    "a ring in a dict": (b"}q\x00K\x01h\x00s.", "contains itself"),
    "a memo that was never written": (b"h\x05.", "damaged"),
    "no mark": (b"t.", "damaged"),
    "an empty stack": (b".", "damaged"),
    "a value below the mark": (b"K\x01(K\x02\x86.", "holds too little"),
    "an odd number of keys and values": (b"}(K\x01u.", "damaged"),
    "Python 2's text": (b"U\x02\xff\xfe.", "encoding='bytes'"),
    "a text without quotes": (b"Sabc\n.", "quotes"),
}
