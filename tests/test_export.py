"""From a saved notebook into the package: what is taken, what falls back, what is never lost."""

from collections import ChainMap

import pytest
from tinycourse import RIGHT, WRONG_DOUBLE, cell_of, code_cell, hand_in, make_course

from nyang_edu.course.cli import main
from nyang_edu.course.exporting import export_chapter, restore_chapter
from nyang_edu.course.files import read_text
from nyang_edu.course.modules import REFERENCE, YOURS, marks


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny course with the reference's modules in place and no progress yet."""
    root = make_course(tmp_path, monkeypatch)
    restore_chapter("1", root)
    return root


def module(root, name="model/tiny.py"):
    return read_text(root / "nyang_edu" / name)


def export(root, answers, **options):
    """Hand in and export; ({exercise: passed}, {exercise: report}, paths)."""
    hand_in(root, answers, **options)
    _, found, paths = export_chapter("1", root)
    return {name: a.passed for name, a in found.items()}, found, paths


def load(root, name="model/tiny.py"):
    """The exported module, run by itself as an import would."""
    namespace = {}
    exec(compile(module(root, name), name, "exec"), namespace)
    return namespace


def test_what_passes_is_taken_letter_by_letter_and_marked(tiny):
    passed, _, paths = export(tiny, RIGHT)
    assert passed == dict.fromkeys(RIGHT, True)
    assert f"{YOURS}\ndef double(x):\n    return x + x  # mine\n" in module(tiny)
    assert "#|" not in module(tiny) and REFERENCE not in module(tiny)
    assert {p.name for p in paths} == {"tiny.py", "box.py"}
    assert load(tiny)["double"](4) == 8


HELPED = "#| export\ndef double(x):\n    return helped(x)\n"
HELPER = "#| export\ndef helped(x):\n    return x + x\n"

# What stands in the cell of `double`, and what the report's text must say.
FALL_BACK = {
    "wrong": (WRONG_DOUBLE, None),
    "syntax error": ("def double(x):\n    return x +\n", "SyntaxError"),
    "raises SystemExit": (
        "import sys\nsys.exit()\ndef double(x):\n    return x * 2\n",
        "SystemExit",
    ),
    "raises anything": ("raise RuntimeError('stop')", "RuntimeError: stop"),
    "raises a KeyError": ("{}['gone']\ndef double(x):\n    return x * 2\n", "KeyError: 'gone'"),
    "cell magic": ("%%time\ndef double(x):\n    return x * 2\n", "SyntaxError"),
    "line magic": ("%matplotlib inline\ndef double(x):\n    return x * 2\n", "SyntaxError"),
    "shell line": ("!ls\ndef double(x):\n    return x * 2\n", "SyntaxError"),
    "a helper that is not there": (HELPED, "NameError"),
    "another name": ("#| export\ndef doubled(x):\n    return x * 2\n", "no double defined"),
    "a null byte": ("def double(x):\0\n    return x * 2\n", "Error"),
    "an endless cell": ("while True:\n    pass\n", "was still running after 0.5 s"),
    "an endless cell that swallows": (
        "while True:\n    try:\n        int('x')\n    except:\n        pass\n",
        "was still running after 0.5 s",
    ),
}


@pytest.mark.parametrize("case", FALL_BACK)
def test_the_reference_stands_in_for_what_does_not_pass(tiny, capsys, case):
    source, words = FALL_BACK[case]
    passed, answers, _ = export(tiny, ChainMap({"double": source}, RIGHT))
    assert passed == {"double": False, "centre": True, "Box": True, "guess": True}
    assert f"{REFERENCE}\ndef double(x):" in module(tiny) and f"{YOURS}\ndef centre(x):" in module(
        tiny
    )
    assert load(tiny)["double"](4) == 8
    main(["check", "1"])
    assert (words or "x is tripled") in capsys.readouterr().out


def test_a_magic_gets_a_word_on_where_it_belongs(tiny, capsys):
    hand_in(tiny, {"double": FALL_BACK["cell magic"][0]})
    main(["check", "1"])
    said = capsys.readouterr().out
    assert "line 1:  %%time" in said and "cell of their own" in said


def test_a_blank_notebook_exports_the_reference_and_earns_nothing(tiny, capsys):
    hand_in(tiny, {})
    assert main(["export", "1"]) == 0
    said = capsys.readouterr().out
    assert "0 of 4 exercises pass: 0 of 7 points." in said and said.count("is still blank") == 4
    assert marks(tiny / "nyang_edu/model/tiny.py") == (0, 2)


def moved_to_the_end(cells):
    exercise = cell_of(cells, "exercise-double")
    return [c for c in cells if c is not exercise] + [exercise]


def renamed_id(cells):
    cell_of(cells, "exercise-double")["id"] = "abc123"
    return cells


def without_ids(cells):
    return [{k: v for k, v in c.items() if k != "id"} for c in cells]


def pasted_twice(cells):
    return [*cells, code_cell(WRONG_DOUBLE)]


def answered_elsewhere(cells):
    cell_of(cells, "exercise-double")["source"] = "# moved below\n"
    return [*cells, code_cell(RIGHT["double"])]


def emptied_and_answered_elsewhere(cells):
    cell_of(cells, "exercise-double")["source"] = ""
    return [*cells, code_cell(RIGHT["double"])]


@pytest.mark.parametrize(
    "change",
    [
        moved_to_the_end,
        renamed_id,
        without_ids,
        pasted_twice,
        answered_elsewhere,
        emptied_and_answered_elsewhere,
        lambda cells: cells[::-1],
    ],
)
def test_an_answer_is_found_wherever_it_went(tiny, change):
    passed, _, _ = export(tiny, RIGHT, change=change)
    assert passed == dict.fromkeys(RIGHT, True)
    assert "return x + x  # mine" in module(tiny) and "x * 3" not in module(tiny)


def test_a_deleted_exercise_falls_back_and_is_called_missing(tiny, capsys):
    hand_in(tiny, RIGHT, change=lambda cells: [c for c in cells if c["id"] != "exercise-double"])
    assert main(["export", "1"]) == 0
    assert "double: no cell found" in capsys.readouterr().out
    assert f"{REFERENCE}\ndef double(x):\n" in module(tiny)
    assert main(["check", "1"]) == 1


def before(id_, *sources):
    """Insert cells with these sources above the cell `id_`."""

    def change(cells):
        at = cells.index(cell_of(cells, id_))
        return cells[:at] + [code_cell(s, f"extra{i}") for i, s in enumerate(sources)] + cells[at:]

    return change


def test_an_exported_helper_goes_along(tiny):
    passed, _, _ = export(tiny, {"double": HELPED}, change=before("exercise-double", HELPER))
    assert passed["double"] and module(tiny).index("def helped") < module(tiny).index("def double")
    assert load(tiny)["double"](4) == 8


def test_a_helper_of_a_helper_goes_along_and_an_unused_one_stays(tiny):
    inner, unused = "#| export\ndef inner(x):\n    return x\n", "#| export\ndef unused(:\n"
    outer = HELPER.replace("x + x", "inner(x) + inner(x)")
    passed, _, _ = export(
        tiny, {"double": HELPED}, change=before("exercise-double", inner, unused, outer)
    )
    assert passed["double"] and load(tiny)["double"](4) == 8
    assert "unused" not in module(tiny)


def test_a_helper_without_export_stays_and_the_message_says_so(tiny, capsys):
    hand_in(
        tiny,
        {"double": HELPED},
        change=before("exercise-double", HELPER.removeprefix("#| export\n")),
    )
    main(["check", "1"])
    said = capsys.readouterr().out
    assert "NameError: name 'helped' is not defined" in said and "#| export" in said
    export_chapter("1", tiny)
    assert "helped" not in module(tiny)


def test_a_helper_serves_later_exercises_even_where_the_next_one_fails(tiny):
    centre = "#| export\ndef centre(x):\n    return x - helped(x.mean()) / 2, x.mean()\n"
    passed, _, _ = export(
        tiny, {"double": WRONG_DOUBLE, "centre": centre}, change=before("exercise-double", HELPER)
    )
    assert (passed["double"], passed["centre"]) == (False, True)
    assert module(tiny).count("def helped") == 1
    assert load(tiny)["centre"](load(tiny)["np"].arange(3.0))[1] == 1


def test_a_helper_goes_into_each_module_that_uses_it_once(tiny):
    box = RIGHT["Box"].replace("value + value", "helped(value)")
    centre = "#| export\ndef centre(x):\n    return x - helped(x.mean()) / 2, x.mean()\n"
    passed, _, _ = export(
        tiny,
        {"double": HELPED, "centre": centre, "Box": box},
        change=before("exercise-double", HELPER),
    )
    assert passed["double"] and passed["centre"] and passed["Box"]
    assert (
        module(tiny).count("def helped") == module(tiny, "utility/box.py").count("def helped") == 1
    )
    made = load(tiny, "utility/box.py")["Box"]()
    made.put(4)
    assert made.get() == 8


def test_code_that_its_module_cannot_run_falls_back(tiny, capsys):
    """Box lives in another module than double: what a notebook sees, an import does not."""
    hand_in(tiny, {**RIGHT, "Box": RIGHT["Box"].replace("value + value", "double(value)")})
    main(["export", "1"])
    said = capsys.readouterr().out
    assert "NameError" in said and "double" in said and "utility" in said
    made = load(tiny, "utility/box.py")["Box"]()
    made.put(4)
    assert made.get() == 8
