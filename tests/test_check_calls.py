"""How check is called and stopped: endless loops, interrupts, seeds, and what it refuses."""

import re
import signal
import sys

import numpy as np
import pytest
from tinycourse import define, make_course, message

from nyang_edu.course import check
from nyang_edu.course.files import CourseError
from nyang_edu.course.notebook import CheckFailed

SWALLOWING = "while True:\n        try:\n            x = {}\n        {}:\n            pass"
FORWARD = "def linear_forward(x, weight, bias):\n    "


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    return make_course(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n        pass",
        SWALLOWING.format("x + 1", "except Exception"),
        SWALLOWING.format("sum(range(10**5))", "except"),
    ],
    ids=["plain", "swallows Exception", "bare except"],
)
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


def test_results_are_copied_before_the_next_call_can_overwrite_them(tiny):
    """One buffer for all calls is right each time: the check must not compare it at the end."""
    assert (
        message(
            "buffers = {d: np.zeros((3, 4), d) for d in (np.float32, np.float64)}\n"
            "def double(x):\n    return np.multiply(x, 2, out=buffers[x.dtype.type])\n",
            "double",
        )
        is None
    )


def test_check_by_name_takes_the_callers_definition():
    linear_forward = define(FORWARD + "return x @ weight.T", "linear_forward")
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


@pytest.mark.parametrize(
    "thing, words",
    [
        ("linear_backward", "linear_backward is not defined yet: run its cell first"),
        ("no_such_exercise", "No exercise is called 'no_such_exercise'"),
        (len, "No exercise is called 'len'"),
        (np.ones(3), "received a ndarray. Leave out the brackets: check(f), not check(f(x))"),
        (None, "received a NoneType"),
        (3.0, "received a float"),
    ],
)
def test_check_of_something_else_says_what_it_expects(thing, words):
    with pytest.raises(CourseError) as refused:
        check(thing)
    assert words in str(refused.value)


def test_what_jupyter_shows_for_a_failure_is_the_message_without_traceback(tiny):
    with pytest.raises(CheckFailed) as failed:
        check(define(SCALED, "double"), seed=1)
    assert failed.value._render_traceback_() == [str(failed.value)]
