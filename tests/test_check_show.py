"""Checks of classes and predictions, and how a report looks as a card in JupyterLab."""

import html
import re
import warnings

import numpy as np
import pytest
from tinycourse import TINY, define, make_course, message, write_source

from nyang_edu.course.diagnosing import judge
from nyang_edu.course.notebook import CheckFailed, check, hint
from nyang_edu.course.reference import workshop
from nyang_edu.course.reporting import as_html, as_text
from nyang_edu.course.source import find_exercise


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    return make_course(tmp_path, monkeypatch)


def box(put="self.value = value * 2", get="return self.value", more=""):
    return (
        f"class Box:\n    def put(self, value):\n        {put}\n\n"
        f"    def get(self):\n        {get}\n{more}"
    )


def card(source, name, seed=0):
    return as_html(judge(workshop(find_exercise(name)), define(source, name), seed))


BLANK = "raise NotImplementedError('{}')"
BOXES = {
    "right": (box(), None),
    "own helper method": (
        box(put="self.keep(value)", more="\n    def keep(self, v):\n        self.value = v + v"),
        None,
    ),
    "all blank": (
        box(BLANK.format("keep twice the value"), BLANK.format("give it back")),
        ["Box is still blank. To do: keep twice the value", 'hint("Box")'],
    ),
    "half blank": (
        box(get=BLANK.format("give it back")),
        ["Box is still blank. To do: give it back", "right so far: kept"],
    ),
    "a method is missing": (
        "class Box:\n    def put(self, value):\n        self.value = value * 2",
        ["AttributeError: 'Box' object has no attribute 'get'", "right so far: kept"],
    ),
    "no methods at all": (
        "class Box:\n    pass",
        ["AttributeError: 'Box' object has no attribute 'put'"],
    ),
    "a constructor that wants more": (
        box(more="\n    def __init__(self, size):\n        pass"),
        ["TypeError", "missing 1 required positional argument: 'size'"],
    ),
    "a function in place of a class": (
        "def Box():\n    return 3",
        ["AttributeError: 'int' object has no attribute 'put'"],
    ),
    "nothing comes back": (
        box(get="self.value"),
        ["Box.get returned nothing", "known mistake: nothing comes back"],
    ),
    "exception in a method": (
        box(get="return self.valeu"),
        [
            "AttributeError: 'Box' object has no attribute 'valeu'",
            "line 6 of get:  return self.valeu",
            "called as Box.get()",
        ],
    ),
    "a method changes its input": (
        box(put="value *= 2\n        self.value = value"),
        ["Box changes its input value", "called as Box.put(value="],
    ),
    "a wrong value": (
        box(put="self.value = value"),
        ["value: got", "known mistake: the value is not doubled"],
    ),
}


@pytest.mark.parametrize("case", BOXES)
def test_answers_that_are_classes(case):
    source, wanted = BOXES[case]
    said = message(source, "Box")
    assert (said is None) == (wanted is None)
    assert [piece for piece in wanted or [] if piece not in said] == []


def test_a_check_leaves_the_students_class_as_it_was():
    cls = define(box(more="\n    @staticmethod\n    def s():\n        return 1"), "Box")
    before = dict(vars(cls))
    check(cls)
    assert dict(vars(cls)) == before
    with pytest.raises(CheckFailed):
        child = type("Box", (cls,), {"put": lambda self, value: setattr(self, "value", value)})
        check(child)
    assert "get" not in vars(child)


def test_a_blank_exercise_that_another_one_calls_is_named():
    namespace_source = (
        "def double(x):\n    raise NotImplementedError('twice each element')\n\n"
        + box(put="self.value = double(value)")
    )
    said = message(namespace_source, "Box")
    assert "Box needs double, which is still blank" in said and "write double first" in said


@pytest.mark.parametrize(
    "answer",
    [
        "np.array([5.0, 22.5, 7.0])",
        "np.zeros(3)",
        "np.zeros((3, 1))",
        "np.zeros(3, int)",
        "np.zeros(2)",
        "np.full(3, np.nan)",
        "np.array([np.inf, 1, 2])",
        "None",
        "'text'",
        "7",
        "[1, 2]",
        "1 / 0",
    ],
)
def test_a_prediction_never_shows_what_was_to_be_predicted(answer):
    source = f"def guess():\n    return {answer}"
    said, shown = message(source, "guess"), card(source, "guess")
    assert said.startswith("not yet  guess")
    assert [number for number in ("111", "222", "333") if number in said + shown] == []
    assert "<svg" not in shown and "expected" not in said


def test_a_predicted_matrix_is_not_drawn(tiny):
    """The third panel of a picture would show the answer."""
    vector, matrix = "np.array([111.0, 222.0, 333.0])", "np.array([[111.0, 222.0], [333.0, 1.0]])"
    write_source(tiny, "01_tiny", TINY.replace(vector, matrix))
    page = card("def guess():\n    return np.zeros((2, 2))", "guess")
    assert "<svg" not in page and "111" not in page
    write_source(tiny, "01_tiny", TINY.replace(vector, matrix).replace(" reveal=false", ""))
    assert "111" in card("def guess():\n    return np.zeros((2, 2))", "guess")


def test_a_right_prediction_is_only_called_right(capsys):
    assert message("def guess():\n    return np.array([111.0, 222.0, 333.0])", "guess") is None
    assert capsys.readouterr().out == "passed  guess: three numbers: right (1 point)\n"


def test_an_exercise_that_may_be_revealed_shows_the_expected_value():
    assert re.search(
        r"out: got \S+ at \[\d, \d\], expected \d",
        message("def double(x):\n    return x * 3", "double"),
    )


NASTY = {
    "a mistake's name": ("return x * x", "x is squared <script>alert(1)</script>"),
    "a mistake's hint": ("return x * x", "<b>two</b> times x, not x times x"),
    "an exception's text": (
        "raise ValueError('<script>alert(2)</script> & \"quoted\"')",
        '<script>alert(2)</script> & "quoted"',
    ),
    "the student's own class": (
        "return type('<img src=x onerror=alert(3)>', (), {})()",
        "<img src=x onerror=alert(3)>",
    ),
}


@pytest.mark.parametrize("case", NASTY)
def test_a_card_escapes_whatever_it_shows(case):
    body, shown = NASTY[case]
    page = card(f"def double(x):\n    {body}", "double")
    assert html.escape(shown) in page and shown not in page
    assert not re.search(r"<(script|b|img)\b", page)


def test_a_wrong_matrix_is_drawn_as_got_expected_and_difference():
    page = card("def double(x):\n    out = x * 2\n    out[1, 2] = -7\n    return out", "double")
    assert re.findall(r"<figcaption>(\w+)</figcaption>", page)[:3] == [
        "got",
        "expected",
        "difference",
    ]
    assert page.count("<rect") == 2 * 3 * 12  # two wrong arrays, three panels of 3 × 4
    assert "got[1, 2] = -7" in page
    differences = re.findall(r"fill='(#\w+)'><title>difference\[(\d, \d)\]", page)
    assert {place for colour, place in differences if colour != "#ffffff"} == {"1, 2"}


@pytest.mark.parametrize("wrong", ["np.nan", "np.inf", "-np.inf"])
def test_drawing_survives_what_is_no_number(wrong):
    body = f"out = x * 2\n    out[0, 0] = {wrong}\n    out[1, 1] = 5\n    return out"
    source = f"def double(x):\n    {body}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = card(source, "double")
    if wrong != "np.nan":  # NaN has words of its own in place of a picture
        assert "fill='#888888'><title>got[0, 0]" in page


@pytest.mark.parametrize(
    "shape, drawn", [((3, 4), 12), ((2, 5, 3, 4), 12), ((40, 3), 0), ((7,), 0), ((), 0)]
)
def test_only_what_fits_is_drawn_and_of_a_stack_the_worst_slice(tiny, monkeypatch, shape, drawn):
    text = TINY.replace("rng.normal(size=(3, 4)) + 3", f"np.asarray(rng.normal(size={shape})) + 3")
    (tiny / "solutions" / "01_tiny.py").write_text(text, encoding="utf-8")
    page = card(
        "def double(x):\n    out = np.array(x * 2.0)\n    out.flat[-1:] += 50\n"
        "    return out.astype(x.dtype)",
        "double",
    )
    assert page.count("<title>got[") == 2 * drawn
    if drawn:
        assert f"fill='#ffffff'><title>difference[{shape[-2] - 1}, {shape[-1] - 1}]" not in page
        assert page.count("fill='#ffffff'><title>difference[") == 2 * (drawn - 1)


def test_a_pass_is_a_card_without_pictures():
    page = card("def double(x):\n    return x + x", "double")
    assert "passed  double" in page and "<svg" not in page


def test_in_jupyterlab_card_and_text_are_shown_and_one_line_is_raised(monkeypatch):
    shown = []
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    with pytest.raises(CheckFailed) as failed:
        check(define("def double(x):\n    return x * 3", "double"), seed=4)
    report = judge(
        workshop(find_exercise("double")), define("def double(x):\n    return x * 3", "double"), 4
    )
    assert shown == [{"text/html": as_html(report), "text/plain": as_text(report)}]
    assert failed.value._render_traceback_() == ["not yet  double: the card above says why"]
    assert str(failed.value) == as_text(report)


def test_a_hint_in_a_test_run_is_always_the_first_one(capsys):
    hint("double")
    hint("double")
    said = capsys.readouterr().out
    assert said == 2 * "hint 1 of 4 for double\n\nDirection of double.\n"


def test_arrays_in_a_message_are_named_by_shape_and_not_poured_out():
    said = message("def double(x):\n    return x.reshape(99)", "double")
    assert "x=float64 array of shape (3, 4)" in said and max(map(len, said.splitlines())) < 200
    assert np.array2string(np.zeros(1)) not in said
