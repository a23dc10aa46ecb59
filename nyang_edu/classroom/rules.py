"""What an answer may not use where the probe has to run beside it.

No exercise needs the interpreter's own machinery, so an answer that uses it is not graded, and
is told so. What a chapter's own text uses is allowed in that chapter. This is a fence and no
wall: with the guard it stops what we could think of; the wall is the process around both.
"""

import ast
import re

_MODULES = {"sys", "os", "gc", "inspect", "ctypes", "builtins", "importlib", "traceback", "types",
            "subprocess", "socket", "signal", "multiprocessing", "mmap", "faulthandler", "code",
            "codeop", "dis", "marshal", "pickle", "atexit", "threading", "_thread", "asyncio",
            "concurrent", "runpy", "pkgutil", "site", "sysconfig", "resource", "posix", "cffi",
            "linecache", "pdb", "bdb", "trace", "tracemalloc", "weakref", "unittest", "ast",
            "operator"}
_COURSE = ("nyang_edu.course", "nyang_edu.classroom")
_NAMES = {"eval", "exec", "compile", "globals", "locals", "breakpoint", "memoryview",
          "get_ipython", "delattr"}
_ATTRIBUTES = {"f_back", "f_globals", "f_locals", "f_code", "f_builtins", "tb_frame", "tb_next",
               "gi_frame", "gi_code", "cr_frame", "ag_frame", "ctypeslib", "_getframe", "f2py",
               "currentframe", "sys", "os", "ctypes", "memmap"}
_DUNDERS = {"__init__", "__call__", "__repr__", "__str__", "__len__", "__getitem__", "__iter__",
            "__next__", "__enter__", "__exit__", "__name__", "__doc__", "__contains__",
            "__setitem__", "__post_init__", "__main__", "__all__", "__add__", "__mul__",
            "__class__", "__dict__"}
_HIDDEN = _ATTRIBUTES - {"sys", "os"}  # as text, for getattr
_KINDS = {"ndarray", "generic", "matrix", "memmap", "MaskedArray", "recarray"}
_COMPUTED = {"getattr", "setattr", "vars"}


class Rules:
    """The rules for one chapter's answers."""

    def __init__(self, chapter):
        self.allowed = set()
        for cell in chapter.cells:
            if cell.kind == "code" and cell.role is None:
                self.allowed |= set(_uses(cell.solved()))

    def broken_by(self, sources):
        """What the sources do that no exercise needs, in words; "" where they do nothing."""
        for source in sources:
            try:
                tree = ast.parse(source)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # it will not run either
            for use in _all_uses(tree):
                if use not in self.allowed and _forbidden(*use):
                    return " ".join(use)
        return ""


def _uses(source):
    try:
        return list(_all_uses(ast.parse(source)))
    except SyntaxError:  # a cell with a line for IPython
        return []


def _all_uses(tree):
    """Yield ("imports", "sys"), ("uses", "eval"), … for all that the rules could be about."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (("imports", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("imports", f"{node.module or '.'}.{a.name}") for a in node.names)
        elif isinstance(node, ast.Name):
            yield "uses", node.id
        elif isinstance(node, ast.Attribute):
            yield "reads", node.attr if _of_self(node) else "__dict__ of another"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield "defines", node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "names", node.value
        elif isinstance(node, ast.ClassDef):
            yield from (("inherits from", ast.unparse(base)) for base in node.bases)
        elif isinstance(node, ast.Call):
            yield from _calls(node, ast.unparse(node.func))


def _of_self(node):
    return node.attr != "__dict__" or isinstance(node.value, ast.Name) and node.value.id == "self"


def _calls(node, name):
    """What stands out in a call: a class made on the fly, an attribute whose name is computed."""
    if len(node.args) == 3:
        yield "calls with three arguments", name
    literal = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    if name in ("getattr", "setattr") and not literal:
        yield "computes a name for", name
    if name == "vars" and node.args and ast.unparse(node.args[0]) != "self":
        yield "computes a name for", name


def _forbidden(verb, what):
    if verb == "imports":
        return what.startswith(_COURSE) or what.split(".")[0] in _MODULES
    if verb == "inherits from":
        return what.split(".")[-1] in _KINDS
    if verb == "calls with three arguments":
        return what == "type"
    if verb == "computes a name for":
        return what in _COMPUTED
    if what == "__dict__ of another":
        return True
    if re.fullmatch(r"__\w+__", what):
        return what not in _DUNDERS
    return what in {"uses": _NAMES, "reads": _ATTRIBUTES, "names": _HIDDEN}.get(verb, ())
