"""What check says about every kind of answer to a function: as a student reads it."""

import re
import signal
import sys

import numpy as np
import pytest
from tinycourse import define, make_course, message

from nyang_edu.course import check
from nyang_edu.course.files import CourseError
from nyang_edu.course.notebook import CheckFailed

HEAD = "def linear_forward(x, weight, bias):\n    "
BACK = "def linear_backward(dout, x, weight):\n    "
RIGHT_BACK = "dout @ weight, dout.T @ x, dout.sum(0)"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    return make_course(tmp_path, monkeypatch)


def forward(body, seed=0):
    return message(HEAD + body, "linear_forward", seed)


def backward(body, seed=0):
    return message(BACK + body, "linear_backward", seed)


RIGHT_FORWARD = {
    "the reference's way": "return x @ weight.T + bias",
    "einsum": "return np.einsum('ni,oi->no', x, weight) + bias",
    "the bias first": "return bias + np.dot(weight, x.T).T",
    "summed backwards": "return (x[:, None, ::-1] * weight[:, ::-1]).sum(-1) + bias",
    "noise in the last digits": "out = x @ weight.T + bias\n    return out * (1 + 2 * np.finfo(out.dtype).eps)",
    "loops": """out = np.zeros((len(x), len(weight)), x.dtype)
    for n in range(len(x)):
        for o in range(len(weight)):
            for i in reversed(range(x.shape[1])):
                out[n, o] += x[n, i] * weight[o, i]
            out[n, o] += bias[o]
    return out""",
    "a printing student": "print('looking at', x.shape)\n    return x @ weight.T + bias",
    "a transposed view": "return (weight @ x.T + bias[:, None]).T",
}


@pytest.mark.parametrize("way", RIGHT_FORWARD)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_right_answer_passes_however_it_is_written(way, seed):
    assert forward(RIGHT_FORWARD[way], seed) is None


def test_lists_pass_for_tuples():
    assert backward(f"return [{RIGHT_BACK}]") is None


def test_a_pass_is_one_line_that_says_what_was_proven(capsys):
    assert forward("return x @ weight.T + bias") is None
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("passed  linear_forward: out, out in float32")
    assert "5 random draws" in said and "(2 points)" in said


# Each wrong answer: the body, what the message must hold, what it must not hold.
WRONG_FORWARD = {
    "blank": ("raise NotImplementedError('one row of outputs')",
              ["linear_forward is still blank", "To do: one row of outputs", 'hint("linear_forward")'],
              ["known mistake", "seed="]),
    "exception": ("y = x + 1\n    return y @ undefined_matrix",
                  ["stopped with NameError: name 'undefined_matrix' is not defined", "#| export",
                   "line 3 of linear_forward:  return y @ undefined_matrix"], []),
    "exception and call": ("return x @ weight.T + bias.reshape(7, 7, 7)",
                           ["stopped with ValueError: cannot reshape", "line 2 of linear_forward",
                            "called as linear_forward(x=", "weight=", "bias=", "seed=0"], []),
    "exception inside NumPy": ("return np.linalg.inv(np.zeros((2, 2)))",
                               ["LinAlgError: Singular matrix",
                                "line 2 of linear_forward:  return np.linalg.inv(np.zeros((2, 2)))"], []),
    "assertion without words": ("assert False", ["stopped with AssertionError", "line 2 of linear_forward"],
                                ["AssertionError: \n"]),
    "wrong shape": ("return (x @ weight.T + bias)[:, :, None]", ["out: got shape (", ", 1), expected ("], []),
    "float64 for float32": ("return x.astype(float) @ weight.T + bias",
                            ["out in float32: got float64, expected float32", "out is right",
                             "known mistake: the result is always float64"], []),
    "NaN": ("out = x @ weight.T + bias\n    out[1, 0] = np.nan\n    return out",
            ["out: got NaN (not a number) at [1, 0], expected "], []),
    "infinity": ("out = x @ weight.T + bias\n    out[0, 1] = np.inf\n    return out",
                 ["out: got inf at [0, 1], expected "], ["NaN"]),
    "changed input": ("x += 1\n    return (x - 1) @ weight.T + bias",
                      ["changes its input x", "called as linear_forward(", "Write into a new one"], []),
    "nothing returned": ("x @ weight.T + bias",
                         ["linear_forward returned nothing", "`return`", "must return one array"], []),
    "a tuple for an array": ("return x @ weight.T, bias",
                             ["returned a tuple of 2 values, but it must return one array"], []),
    "a list for an array": ("return (x @ weight.T + bias).tolist()",
                            ["returned a list of ", "but it must return one array"], ["tuple"]),
    "text for an array": ("return 'done'", ["returned an object of type str"], []),
    "one wrong element": ("out = x @ weight.T + bias\n    out[1, 1] += 100\n    return out",
                          ["out: got 9", " at [1, 1], expected ", "the only wrong element out of"],
                          ["known mistake", "1 wrong elements"]),
    "a known mistake": ("return x @ weight.T",
                        ["known mistake: the bias is forgotten", "A linear layer ends with + bias"], []),
    "endless recursion": ("return linear_forward(x, weight, bias)",
                          ["stopped with RecursionError", "calls itself without end"], []),
    "sys.exit": ("import sys\n    sys.exit(3)", ["stopped with SystemExit: 3", "line 3 of linear_forward"], []),
    "quit": ("raise SystemExit", ["stopped with SystemExit", "line 2"], ["SystemExit: \n"]),
}


@pytest.mark.parametrize("case", WRONG_FORWARD)
def test_a_wrong_answer_is_told_what_is_wrong(case):
    body, wanted, unwanted = WRONG_FORWARD[case]
    said = forward(body)
    assert said and said.startswith("not yet  linear_forward")
    assert [piece for piece in wanted if piece not in said] == []
    assert [piece for piece in unwanted if piece in said] == []
    assert "Traceback" not in said and "nyang_edu/course" not in said


def test_wrong_parameters_are_reported_with_the_call():
    said = message("def linear_forward(x):\n    return x", "linear_forward")
    assert "TypeError: linear_forward() takes 1 positional argument but 3 were given" in said


def test_a_wrong_number_of_results_is_named():
    assert "returned one array or number, but it must return a tuple of 3 values" in backward(
        "return dout @ weight")
    assert "returned a tuple of 2 values, but it must return a tuple of 3 values" in backward(
        "return dout @ weight, dout.T @ x")


def test_what_is_right_is_said_beside_what_is_wrong():
    said = backward("return dout @ weight, dout.T @ x, -dout.sum(0)")
    assert said.splitlines()[0] == "not yet  linear_backward: dbias is wrong; dx, dweight are right"


def test_two_mistakes_at_once_are_both_named_with_their_arrays():
    said = backward("return dout @ weight, dout.T @ x / len(x), dout.sum(1)")
    assert "known mistake (in dweight): dweight is averaged over the batch" in said
    assert "known mistake (in dbias): dbias is summed over the outputs" in said
    assert said.splitlines()[0].endswith("dweight, dbias are wrong; dx is right")


def test_a_mistake_is_not_named_where_the_arrays_differ_from_it():
    assert "known mistake" not in backward("return dout @ weight, dout.T @ x / 7, dout.sum(0)")


@pytest.mark.parametrize("body", [
    "while True:\n        pass",
    "while True:\n        try:\n            x = x + 1\n        except Exception:\n            pass",
    "while True:\n        try:\n            x = abs(x)\n        except:\n            pass",
], ids=["plain", "swallows Exception", "bare except"])
def test_an_endless_loop_is_stopped_at_the_limit(tiny, body):
    said = message(f"def double(x):\n    {body}\n    return x", "double")
    assert "double was stopped: it was still running after 0.5 s" in said
    assert "loop that never ends" in said and "known mistake" not in said


def test_a_check_leaves_neither_timer_nor_tracer_nor_handler(tiny):
    before = signal.getsignal(signal.SIGALRM), sys.gettrace()
    message("def double(x):\n    while True:\n        pass", "double")
    assert (signal.getsignal(signal.SIGALRM), sys.gettrace()) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
def test_the_users_own_interrupt_passes_through(tiny, stop):
    def double(x):
        raise stop
    with pytest.raises(stop):
        check(double)


SCALED = "def double(x):\n    print(float(x.sum()))\n    return x * 3\n"


def test_the_same_seed_repeats_the_draw_and_another_does_not(tiny, capsys):
    first, again, other = (message(SCALED, "double", s) for s in (7, 7, 8))
    draws = capsys.readouterr().out
    assert first == again != other.replace("seed=8", "seed=7")
    assert len(set(draws.split())) > 5


def test_without_a_seed_the_message_gives_the_one_that_repeats_it(tiny):
    said = [message(SCALED, "double", seed=None) for _ in range(4)]
    seeds = [int(re.search(r"check\(double, seed=(\d+)\)", text)[1]) for text in said]
    assert len(set(seeds)) > 1
    assert message(SCALED, "double", seeds[0]) == said[0]


def test_five_rounds_draw_five_times(tiny, capsys):
    message("def double(x):\n    print(float(x.sum()))\n    return x * 2\n", "double")
    draws = [line for line in capsys.readouterr().out.split("\n") if re.fullmatch(r"[\d.]+", line)]
    assert len(draws) == 10 and len(set(draws)) == 10


def test_check_by_name_takes_the_callers_definition():
    linear_forward = define(HEAD + "return x @ weight.T", "linear_forward")
    globals()["linear_forward"] = linear_forward
    try:
        with pytest.raises(CheckFailed, match="the bias is forgotten"):
            check("linear_forward")
        globals()["linear_forward"] = lambda x, weight, bias: x @ weight.T + bias
        check("linear_forward")
        globals()["linear_forward"] = 3
        with pytest.raises((CheckFailed, CourseError), match="int"):
            check("linear_forward")
    finally:
        del globals()["linear_forward"]


@pytest.mark.parametrize("thing, words", [
    ("linear_backward", "linear_backward is not defined yet: run its cell first"),
    ("no_such_exercise", "No exercise is called 'no_such_exercise'"),
    (len, "No exercise is called 'len'"),
    (np.ones(3), "received a ndarray. Leave out the brackets: check(f), not check(f(x))"),
    (None, "received a NoneType"),
    (3.0, "received a float"),
])
def test_check_of_something_else_says_what_it_expects(thing, words):
    with pytest.raises(CourseError) as refused:
        check(thing)
    assert words in str(refused.value)


def test_what_jupyter_shows_for_a_failure_is_the_message_without_traceback(tiny):
    with pytest.raises(CheckFailed) as failed:
        check(define(SCALED, "double"), seed=1)
    assert failed.value._render_traceback_() == [str(failed.value)]
