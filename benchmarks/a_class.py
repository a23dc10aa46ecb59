"""Write the hand-ins of a class: right, wrong by each known mistake, blank and hostile.

Who made which mistake is known, so a grading of them can be checked to the last student.
"""

import ast
from collections import Counter

from nyang_edu.course.modules import strip_directives
from nyang_edu.course.notebooks import as_json, notebook

SHARES = {"right": 3, "wrong": 5, "blank": 1, "hostile": 1}  # of ten students
HOSTILE = {
    "never returns": "while True:\n        pass",
    "ends its process": "import os\n    os._exit(0)",
    "eats memory": "kept = []\n    while True:\n        kept.append(bytearray(1 << 24))",
    "writes without end": "while True:\n        print('points: 100' * 1000)",
}


def enrol(folder, chapter, count):
    """Write ``count`` students' notebooks below ``folder``; {(exercise, mistake): students}, kinds.

    The kinds are a Counter over SHARES; the students of a kind take turns with its variants.
    """
    mistakes = [(name, mistake, source) for name, exercise in chapter.exercises.items()
                for mistake, source in answers_with_mistakes(exercise).items()]
    planted, kinds = Counter(), Counter()
    order = [kind for kind, share in SHARES.items() for _ in range(share)]
    for number in range(count):
        kind = order[number * 7 % len(order)]  # 7 and 10 share no factor: kinds alternate
        turn = kinds[kind]
        kinds[kind] += 1
        answers = {}
        if kind == "wrong":
            exercise, mistake, source = mistakes[turn % len(mistakes)]
            planted[exercise, mistake] += 1
            answers = {exercise: source}
        elif kind == "hostile":
            answers = _hostile(chapter, list(HOSTILE.values())[turn % len(HOSTILE)])
        place = folder / f"{kind} {number:04d}"
        place.mkdir(parents=True)
        text = as_json(hand_in(chapter, answers, solved=kind != "blank"))
        (place / f"{chapter.name}.ipynb").write_text(text, "utf-8")
    return planted, kinds


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

    A mistake that is written in terms of the reference brings the reference along.
    """
    right, found, helpers = strip_directives(exercise.cell.solved()), {}, []
    for node in ast.parse(exercise.mistakes.source).body:
        call = _mistake_call(node)
        if call is None:
            helpers.append(ast.unparse(node))
        elif isinstance(node, ast.Expr):
            old, new = next(ast.literal_eval(k.value) for k in call.keywords if k.arg == "swap")
            found[ast.literal_eval(call.args[0])] = right.replace(old, new)
        else:
            node.decorator_list = []
            parts = [right, f"reference = {exercise.name}", *helpers, ast.unparse(node)]
            found[ast.literal_eval(call.args[0])] = "\n\n".join(parts)
    return found


def _mistake_call(node):
    """The call ``mistake(name, hint, …)`` that a statement is, or is decorated with."""
    calls = [node.value] if isinstance(node, ast.Expr) else getattr(node, "decorator_list", [])
    return next((call for call in calls if isinstance(call, ast.Call)
                 and getattr(call.func, "id", "") == "mistake"), None)


def _hostile(chapter, body):
    """An attack in the chapter's first exercise; the other answers are right."""
    name = next(iter(chapter.exercises))
    return {name: f"def {name}(*arguments):\n    {body}"}
