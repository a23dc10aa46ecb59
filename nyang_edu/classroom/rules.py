"""What an answer may not use where the probe has to run beside it.

No exercise needs the interpreter's own machinery, so an answer that does is not graded, and is
told so. What a chapter's own text uses is allowed in that chapter.
"""

import ast
import re

_MODULES = {"sys", "os", "gc", "inspect", "ctypes", "builtins", "importlib", "traceback", "types",
            "subprocess", "socket", "signal", "multiprocessing", "mmap", "faulthandler", "code",
            "codeop", "dis", "marshal", "pickle", "atexit", "threading", "_thread", "asyncio",
            "concurrent", "runpy", "pkgutil", "site", "sysconfig", "resource", "posix", "cffi",
            "linecache", "pdb", "bdb", "trace", "tracemalloc", "weakref", "unittest", "ast"}
_COURSE = ("nyang_edu.course", "nyang_edu.classroom")
_NAMES = {"eval", "exec", "compile", "globals", "locals", "breakpoint", "memoryview",
          "get_ipython", "delattr"}
_ATTRIBUTES = {"f_back", "f_globals", "f_locals", "f_code", "f_builtins", "tb_frame", "tb_next",
               "gi_frame", "gi_code", "cr_frame", "ag_frame", "ctypeslib", "_getframe", "f2py",
               "currentframe", "modules", "sys", "os", "ctypes", "frombuffer", "memmap"}
_DUNDERS = {"__init__", "__call__", "__repr__", "__str__", "__len__", "__getitem__", "__iter__",
            "__next__", "__enter__", "__exit__", "__name__", "__doc__", "__contains__",
            "__setitem__", "__post_init__", "__main__", "__all__", "__add__", "__mul__"}
_HIDDEN = _ATTRIBUTES - {"modules", "sys", "os"}  # as text, for getattr
_KINDS = {"ndarray", "generic", "float", "int", "str", "bool", "tuple", "list", "dict"}


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
            yield "reads", node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield "defines", node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "names", node.value
        elif isinstance(node, ast.ClassDef):
            yield from (("inherits from", ast.unparse(base)) for base in node.bases)
        elif isinstance(node, ast.Call) and len(node.args) == 3:
            yield "calls with three arguments", ast.unparse(node.func)


def _forbidden(verb, what):
    if verb == "imports":
        return what.startswith(_COURSE) or what.split(".")[0] in _MODULES
    if verb == "inherits from":
        return what.split(".")[-1] in _KINDS
    if verb == "calls with three arguments":
        return what == "type"
    if re.fullmatch(r"__\w+__", what):
        return what not in _DUNDERS
    return what in {"uses": _NAMES, "reads": _ATTRIBUTES, "names": _HIDDEN}.get(verb, ())
