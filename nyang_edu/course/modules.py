"""Make Python modules out of a chapter's exported cells."""

import ast
import builtins
import re
import symtable

from .files import CourseError, read_text
from .sealing import sealed_code

YOURS, REFERENCE = "# yours", "# reference: yours does not pass its check yet"
_HEADER = "# Exported from chapter {number}. Change the notebook, then export again."


def module_path(root, module):
    """The file of a dotted module: "model.linear" → nyang_edu/model/linear.py."""
    if not re.fullmatch(r"\w+(\.\w+)*", module):
        raise CourseError(f"{module!r} is no module's name: write #| export model.linear")
    return root.joinpath("nyang_edu", *module.split(".")).with_suffix(".py")


def module_text(chapter, cells, answers=None, sealed=False):
    """The module's source.

    ``answers`` maps exercise names to (source, mark); an exercise without an entry
    is the reference's. With ``answers`` every exercise carries a mark that says whose it is.
    With ``sealed`` the reference's code runs but does not show.
    """
    parts = [_HEADER.format(number=chapter.number)]
    for cell in cells:
        source, mark = cell.solved(), None
        if answers and cell.exercise in answers:
            source, mark = answers[cell.exercise]
        text = strip_directives(source)
        if sealed and cell.exercise and mark != YOURS:
            text = sealed_code(text, cell.exercise)
        parts.append(f"{mark}\n{text}" if mark else text)
    text = parts[0] + "\n" + parts[1] + "\n\n\n" + "\n\n\n".join(parts[2:])
    return text.rstrip() + "\n"


def strip_directives(source):
    """The source without its ``#|`` lines and without blank lines around it."""
    return re.sub(r"^#\|.*\n?", "", source, flags=re.MULTILINE).strip("\n").rstrip()


def public_names(text):
    """The names that a module defines and that do not begin with an underscore."""
    names = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def names_defined(text):
    """The names that code binds at its top level; of broken code, its functions and classes."""
    try:
        symbols = symtable.symtable(text, "<cell>", "exec").get_symbols()
    except (SyntaxError, ValueError):
        return set(re.findall(r"^(?:def|class)\s+(\w+)", text, re.MULTILINE))
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def names_missing(text):
    """The names that a module's code reads and neither it nor Python defines."""
    tables, read = [symtable.symtable(text, "<module>", "exec")], set()
    for table in tables:  # grows while it is walked
        tables += table.get_children()
        read |= {s.get_name() for s in table.get_symbols()
                 if s.is_referenced() and (s.is_global() or table.get_type() == "module")}
    return read - names_defined(text) - set(dir(builtins)) - {"__file__"}


def marks(path):
    """How many exercises of an exported file are the student's, and how many fell back."""
    lines = read_text(path).splitlines() if path.exists() else []
    return lines.count(YOURS), lines.count(REFERENCE)


def package_init(chapters, root=None):
    """The text of ``nyang_edu/__init__.py``: every public name and where it lives.

    Names come from what the chapters export, and, below ``root``, from the ``__all__`` of the
    modules that are written by hand.
    """
    homes, owners = {}, {}
    for chapter in chapters:
        for module, cells in chapter.modules().items():
            if owners.setdefault(module, chapter.name) != chapter.name:
                raise CourseError(f"{module} is exported by {owners[module]} and {chapter.name}: "
                                  "a module belongs to one chapter only")
            _settle(homes, module, public_names(module_text(chapter, cells)))
    for module, names in _written_by_hand(root, owners):
        _settle(homes, module, names)
    table = "".join(f'    "{name}": "{homes[name]}",\n' for name in sorted(homes))
    return _INIT.replace("TABLE\n", table)


def _settle(homes, module, names):
    """Enter a module's names; raise where another one has a name already."""
    for name in names:
        if name in homes:
            raise CourseError(f"{name} is exported by {homes[name]} and {module}: "
                              "each public name comes from one module only")
        homes[name] = module


def _written_by_hand(root, exported):
    """Yield (module, its __all__) of each framework module that no chapter exports."""
    for path in sorted((root / "nyang_edu").glob("*/**/*.py")) if root else ():
        module = ".".join(path.relative_to(root / "nyang_edu").with_suffix("").parts)
        if module.startswith("course.") or module in exported or path.name == "__init__.py":
            continue
        for node in ast.parse(read_text(path)).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                yield module, ast.literal_eval(node.value)


_INIT = '''"""nyang torch: a deep-learning framework in NumPy, exported chapter by chapter.

Names are loaded on first use, so that importing the package costs no more than NumPy, and
one broken module does not take the others with it.
"""

import os
from importlib import import_module

__version__ = "0.1.0"

# OpenBLAS's threads wait for more work in a busy loop, 25 ms long, on the cores that the layers'
# own threads need. This lets them sleep at once; it counts where NumPy has not been loaded yet.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

_HOMES = {
TABLE
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'nyang_edu' has no attribute {name!r}")
    return getattr(import_module(f"nyang_edu.{_HOMES[name]}"), name)


def __dir__():
    return [*globals(), *_HOMES]
'''
