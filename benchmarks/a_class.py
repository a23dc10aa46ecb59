"""Write the hand-ins of a class: right, wrong by each known mistake, blank and hostile.

Who made which mistake is known, so a grading of them can be checked to the last student.
"""

import ast
import contextlib
from dataclasses import dataclass

from nyang_edu.course.modules import strip_directives
from nyang_edu.course.notebooks import as_json, notebook

SHARES = {"right": 3, "wrong": 5, "blank": 1, "hostile": 1}  # of ten students
HOSTILE = {
    "never returns": "while True:\n        pass",
    "ends its process": "import os\n    os._exit(0)",
    "eats memory": "kept = []\n    while True:\n        kept.append(bytearray(1 << 24))",
    "writes without end": "while True:\n        print('points: 100' * 1000)",
}


@dataclass
class Student:
    """One of the class: which exercise is not right and why, and the points that are earned."""

    name: str
    kind: str
    points: int
    exercise: str = ""
    mistake: str = ""


def enrol(folder, chapter, count):
    """Write ``count`` students' notebooks below ``folder``; the list of Students.

    The kinds alternate by SHARES; the students of a kind take turns with its variants.
    """
    wrong = [(name, mistake, source) for name, exercise in chapter.exercises.items()
             for mistake, source in answers_with_mistakes(exercise).items()]
    first = next(iter(chapter.exercises))
    hostile = [(first, how, f"def {first}(*arguments):\n    {body}")
               for how, body in HOSTILE.items()]
    variants = {"wrong": wrong, "hostile": hostile}
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    students, turns = [], dict.fromkeys(SHARES, 0)
    for number in range(count):
        kind = kinds[number * 7 % len(kinds)]  # 7 and 10 share no factor: every kind has its turn
        student = Student(f"{kind} {number:04d}", kind, 0 if kind == "blank" else chapter.points)
        answers = {}
        if kind in variants:
            name, student.mistake, source = variants[kind][turns[kind] % len(variants[kind])]
            student.exercise, answers = name, {name: source}
            student.points -= chapter.exercises[name].points
        turns[kind] += 1
        _save(folder / student.name / f"{chapter.name}.ipynb",
              hand_in(chapter, answers, solved=kind != "blank"))
        students.append(student)
    return students


def _save(path, book):
    path.parent.mkdir(parents=True)
    path.write_text(as_json(book), "utf-8")


def hand_in(chapter, answers, solved=True):
    """The solved (or the blank) notebook with other answers in some exercises' cells."""
    book = notebook(chapter, solved)
    for cell in book["cells"]:
        name = cell["id"].removeprefix("exercise-")
        if name in answers:
            cell["source"] = f"#| export\n{answers[name]}\n"
    return book


def answers_with_mistakes(exercise):
    """{a known mistake's name: the source of an answer that makes it}.

    A mistake that is written in terms of the reference brings the reference along. Those that the
    source computes, in a loop for instance, are left out.
    """
    right, found, helpers = strip_directives(exercise.cell.solved()), {}, []
    for node in ast.parse(exercise.mistakes.source).body:
        call = _mistake_call(node)
        if call is None:
            helpers.append(ast.unparse(node))
            continue
        with contextlib.suppress(ValueError):  # it is computed
            name, swap = ast.literal_eval(call.args[0]), _swap(call)
            node.decorator_list = []
            parts = [right, f"reference = {exercise.name}", *helpers, ast.unparse(node)]
            found[name] = right.replace(*swap) if swap else "\n\n".join(parts)
    return found


def _swap(call):
    """The (old, new) of a mistake that exchanges a piece of the reference, or None."""
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "swap"), None)


def _mistake_call(node):
    """The call ``mistake(name, hint, …)`` that a statement is, or is decorated with."""
    calls = [node.value] if isinstance(node, ast.Expr) else getattr(node, "decorator_list", [])
    return next((call for call in calls if isinstance(call, ast.Call)
                 and getattr(call.func, "id", "") == "mistake"), None)
