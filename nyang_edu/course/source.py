"""Read a chapter's source: ``solutions/NN_name.py`` in the percent format.

One text file holds the prose, the reference, and for each exercise its probe, its known
mistakes and its hints. This module turns it into cells and exercises, and refuses a source
that breaks the rules by naming the chapter and the line.
"""

import ast
import functools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .files import CourseError, course_root
from .sealing import SEALED, read_source

AUTHOR_ROLES = ("probe", "mistakes", "hints")  # never shown to a student
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_HEADER = re.compile(r"^# %%(?= |$)(.*)$")
_REGION = re.compile(
    rf"^([ \t]*){BEGIN}[ \t]*([^\n]*)\n(.*?)^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL
)


@dataclass
class Cell:
    """One cell: ``kind`` is "code" or "markdown"; ``meta`` is what stands on its header."""

    kind: str
    source: str
    meta: dict
    line: int

    @property
    def role(self):
        """The author's role of this cell ("probe", "mistakes", "hints") or None."""
        return next((role for role in AUTHOR_ROLES if role in self.meta), None)

    @property
    def exercise(self):
        """The name of the exercise that is written in this cell, or None."""
        return self.meta.get("exercise")

    @property
    def checks(self):
        """The name that a cell holding nothing but ``check(name)`` checks, or None."""
        match = re.fullmatch(r"check\((\w+)\)", self.source.strip())
        return match and match[1]

    def directive(self, name):
        """The value of ``#| name value``: "" where it has none, None where it is absent."""
        match = re.search(rf"^#\|[ \t]*{name}\b[ \t]*(.*)$", self.source, re.MULTILINE)
        return match and match[1].strip()

    @property
    def defines(self):
        """True for a cell whose code the package or a later exercise needs."""
        return self.kind == "code" and self.role is None and bool(
            self.exercise or self.directive("export") is not None
        )

    def solved(self):
        """The source with the solution in place and its markers removed."""
        return _REGION.sub(lambda m: m[3].rstrip("\n"), self.source)

    @property
    def prompts(self):
        """What each hole says is to be done there."""
        return [match[2] for match in _REGION.finditer(self.source)]

    def blank(self):
        """The source as the student gets it: each solution is a NotImplementedError."""
        return _REGION.sub(
            lambda m: f"{m[1]}raise NotImplementedError({json.dumps(m[2], ensure_ascii=False)})",
            self.source,
        )


@dataclass
class Exercise:
    """What belongs to one exercise: reference cell, probe, mistakes, hints, points, stars."""

    name: str
    chapter: str
    cell: Cell
    probe: Cell = None
    mistakes: Cell = None
    hints: list = field(default_factory=list)

    @property
    def points(self):
        """What a pass is worth."""
        return self.cell.meta.get("points", 1)

    @property
    def stars(self):
        """1 to predict, 2 to implement, 3 to extend."""
        return self.cell.meta.get("stars", 2)


@dataclass
class Chapter:
    """A parsed chapter: ``name`` such as "03_linear", its cells and exercises by name.

    ``sealed`` is True where the source was handed out without showing the solutions.
    """

    name: str
    cells: list
    exercises: dict
    sealed: bool = False

    @property
    def number(self):
        """The two digits that the name begins with."""
        return self.name.split("_")[0]

    @property
    def title(self):
        """The first heading, without the chapter's number."""
        heading = re.search(r"^# +(.+)$", self.cells[0].source, re.MULTILINE)
        return re.sub(r"^\d+\W+", "", heading[1]) if heading else self.name

    @property
    def points(self):
        """What all exercises of the chapter are worth together."""
        return sum(exercise.points for exercise in self.exercises.values())

    def modules(self):
        """The exported cells by dotted module: {"model.linear": [cell, …]}."""
        modules, default = {}, None
        for cell in self.cells:
            default = cell.directive("default_exp") or default
            target = cell.directive("export")
            if target is not None and cell.role is None:
                if not (target or default):
                    raise refuse(self.name, cell, "#| export comes before any #| default_exp")
                modules.setdefault(target or default, []).append(cell)
        return modules


def refuse(chapter, cell, why):
    """The error for a source that breaks a rule, with chapter and line."""
    return CourseError(f"{chapter}, cell at line {cell.line}: {why}")


def parse_cells(text):
    """Split percent-format text into Cells; the text before the first header is dropped."""
    cells, lines = [], None
    for number, line in enumerate(text.split("\n"), start=1):
        header = _HEADER.match(line)
        if header:
            lines = []
            kind = "markdown" if "[markdown]" in header[1] else "code"
            cells.append((kind, _header_meta(header[1], number), number, lines))
        elif lines is not None:
            lines.append(line)
    return [Cell(kind, _body(kind, lines), meta, at) for kind, meta, at, lines in cells]


def _body(kind, lines):
    if kind == "markdown":
        lines = [re.sub(r"^# ?", "", line) for line in lines]
    return "\n".join(lines).strip("\n").rstrip()


def _header_meta(text, number):
    """``exercise="name" points=2`` as a dict; the values are JSON."""
    meta, decoder = {}, json.JSONDecoder()
    position = 0
    for match in re.finditer(r"(\w+)=", text):
        if match.start() < position:
            continue  # inside the value before it
        try:
            meta[match[1]], position = decoder.raw_decode(text, match.end())
        except json.JSONDecodeError:
            raise CourseError(f"line {number}: {match[1]}= needs a JSON value: {text}") from None
    return meta


def parse_chapter(name, text):
    """Build a Chapter from its source text; raises CourseError where a rule is broken."""
    try:
        chapter = Chapter(name, parse_cells(text), {})
    except CourseError as error:
        raise CourseError(f"{name}, {error}") from None
    if not chapter.cells:
        raise CourseError(f"{name}: no cell found; a cell begins with a line `# %%`")
    for cell in chapter.cells:
        _check_code(name, cell)
        if cell.exercise:
            if cell.exercise in chapter.exercises:
                raise refuse(name, cell, f"exercise {cell.exercise} is defined twice")
            chapter.exercises[cell.exercise] = Exercise(cell.exercise, name, cell)
    for cell in chapter.cells:
        if cell.role:
            _attach(chapter, cell)
    for exercise in chapter.exercises.values():
        _check_complete(chapter, exercise)
    return chapter


def _check_code(name, cell):
    """Refuse code that Python cannot parse or that a module cannot hold."""
    if cell.kind != "code":
        return
    if cell.source.count(BEGIN) != len(_REGION.findall(cell.source)) or (
        cell.source.count(END) != cell.source.count(BEGIN)
    ):
        raise refuse(name, cell, f"every {BEGIN} needs its {END}")
    if cell.defines or cell.role:
        try:
            ast.parse(cell.source)  # with the markers, which are comments: lines stay true
        except SyntaxError as error:
            line = cell.line + (error.lineno or 0)
            raise refuse(name, cell, f"syntax error at line {line}: {error.msg}") from None


def _attach(chapter, cell):
    exercise = chapter.exercises.get(cell.meta[cell.role])
    if exercise is None:
        raise refuse(chapter.name, cell, f"no exercise is called {cell.meta[cell.role]!r}")
    if getattr(exercise, cell.role):
        raise refuse(chapter.name, cell, f"{exercise.name} has two {cell.role} cells")
    value = cell
    if cell.role == "hints":
        value = [part.strip() for part in re.split(r"^---$", cell.source, flags=re.MULTILINE)]
    setattr(exercise, cell.role, value)


def _check_complete(chapter, exercise):
    if BEGIN not in exercise.cell.source:
        raise refuse(chapter.name, exercise.cell, f"{exercise.name} has no {BEGIN}")
    for role in AUTHOR_ROLES:
        if not getattr(exercise, role):
            raise refuse(chapter.name, exercise.cell, f"{exercise.name} has no {role} cell")
    checks = [cell for cell in chapter.cells if cell.checks == exercise.name]
    if len(checks) != 1:
        raise refuse(chapter.name, exercise.cell,
                     f"{exercise.name} needs exactly one cell check({exercise.name})")


@functools.lru_cache(maxsize=64)
def _cached_chapter(path, stamp):
    chapter = parse_chapter(Path(path).stem, read_source(path))
    chapter.sealed = Path(path).suffix == SEALED
    return chapter


def load_chapter(path):
    """The Chapter of a source file; parsed again only when the file has changed."""
    info = Path(path).stat()
    return _cached_chapter(str(path), (info.st_mtime_ns, info.st_size))


def chapter_paths(root=None):
    """The sources of all chapters, in order."""
    folder = (root or course_root()) / "solutions"
    return sorted(path for path in folder.glob("[0-9][0-9]_*") if path.suffix in (".py", SEALED))


def source_path(name):
    """The source of the chapter "03_linear", open or sealed."""
    return next((path for path in chapter_paths() if path.stem == name),
                course_root() / "solutions" / f"{name}.py")


def find_chapter(key, root=None):
    """The Chapter called "03", "3", "linear" or "03_linear"."""
    key = str(key).removesuffix(".ipynb").removesuffix(".py")
    paths = chapter_paths(root)
    for path in paths:
        number, _, rest = path.stem.partition("_")
        if key in (path.stem, rest, number) or (key.isdigit() and int(key) == int(number)):
            return load_chapter(path)
    raise CourseError(
        f"No chapter is called {key!r}. There are: {', '.join(path.stem for path in paths)}."
    )


def find_exercise(name, root=None):
    """The Exercise of that name; exercise names are unique over the whole course."""
    for path in chapter_paths(root):
        if f'exercise="{name}"' in read_source(path):
            return load_chapter(path).exercises[name]
    raise CourseError(
        f"No exercise is called {name!r}. Pass the function or class of an exercise, "
        'or its name: check("name").'
    )
