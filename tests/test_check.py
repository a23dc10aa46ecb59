"""What check says about every kind of answer to a function: as a student reads it."""

import pytest
from tinycourse import message

from nyang_edu.course.diagnosing import judge
from nyang_edu.course.reference import workshop
from nyang_edu.course.reporting import as_text
from nyang_edu.course.source import find_chapter

HEAD = "def linear_forward(x, weight, bias):\n    "
BACK = "def linear_backward(dout, x, weight):\n    "
RIGHT_BACK = "dout @ weight, dout.T @ x, dout.sum(0)"


def forward(body, seed=0):
    return message(HEAD + body, "linear_forward", seed)


def backward(body, seed=0):
    return message(BACK + body, "linear_backward", seed)


RIGHT_FORWARD = {
    "the reference's way": "return x @ weight.T + bias",
    "einsum": "return np.einsum('ni,oi->no', x, weight) + bias",
    "the bias first": "return bias + np.dot(weight, x.T).T",
    "summed backwards": "return (x[:, None, ::-1] * weight[:, ::-1]).sum(-1) + bias",
    "noise in the last digits": """out = x @ weight.T + bias
    return out * (1 + 2 * np.finfo(out.dtype).eps)""",
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
    "blank": (
        "raise NotImplementedError('one row of outputs')",
        ["linear_forward is still blank", "To do: one row of outputs", 'hint("linear_forward")'],
        ["known mistake", "seed="],
    ),
    "exception": (
        "y = x + 1\n    return y @ undefined_matrix",
        [
            "stopped with NameError: name 'undefined_matrix' is not defined",
            "#| export",
            "line 3 of linear_forward:  return y @ undefined_matrix",
        ],
        [],
    ),
    "exception and call": (
        "return x @ weight.T + bias.reshape(7, 7, 7)",
        [
            "stopped with ValueError: cannot reshape",
            "line 2 of linear_forward",
            "called as linear_forward(x=",
            "weight=",
            "bias=",
            "seed=0",
        ],
        [],
    ),
    "exception inside NumPy": (
        "return np.linalg.inv(np.zeros((2, 2)))",
        [
            "LinAlgError: Singular matrix",
            "line 2 of linear_forward:  return np.linalg.inv(np.zeros((2, 2)))",
        ],
        [],
    ),
    "assertion without words": (
        "assert False",
        ["stopped with AssertionError", "line 2 of linear_forward"],
        ["AssertionError: \n"],
    ),
    "wrong shape": (
        "return (x @ weight.T + bias)[:, :, None]",
        ["out: got shape (", ", 1), expected ("],
        [],
    ),
    "float64 for float32": (
        "return x.astype(float) @ weight.T + bias",
        [
            "out in float32: got float64, expected float32",
            "out is right",
            "known mistake: the result is always float64",
        ],
        [],
    ),
    "NaN": (
        "out = x @ weight.T + bias\n    out[1, 0] = np.nan\n    return out",
        ["out: got NaN (not a number) at [1, 0], expected "],
        [],
    ),
    "infinity": (
        "out = x @ weight.T + bias\n    out[0, 1] = np.inf\n    return out",
        ["out: got inf at [0, 1], expected "],
        ["NaN"],
    ),
    "changed input": (
        "x += 1\n    return (x - 1) @ weight.T + bias",
        ["changes its input x", "called as linear_forward(", "Write into a new one"],
        [],
    ),
    "nothing returned": (
        "x @ weight.T + bias",
        ["linear_forward returned nothing", "`return`", "must return one array"],
        [],
    ),
    "a tuple for an array": (
        "return x @ weight.T, bias",
        ["returned a tuple of 2 values, but it must return one array"],
        [],
    ),
    "a list for an array": (
        "return (x @ weight.T + bias).tolist()",
        ["returned a list of ", "but it must return one array"],
        ["tuple"],
    ),
    "text for an array": ("return 'done'", ["returned an object of type str"], []),
    "one wrong element": (
        "out = x @ weight.T + bias\n    out[1, 1] += 100\n    return out",
        ["out: got 9", " at [1, 1], expected ", "the only wrong element out of"],
        ["known mistake", "1 wrong elements"],
    ),
    "a known mistake": (
        "return x @ weight.T",
        ["known mistake: the bias is forgotten", "A linear layer ends with + bias"],
        [],
    ),
    "endless recursion": (
        "return linear_forward(x, weight, bias)",
        ["stopped with RecursionError", "calls itself without end"],
        [],
    ),
    "sys.exit": (
        "import sys\n    sys.exit(3)",
        ["stopped with SystemExit: 3", "line 3 of linear_forward"],
        [],
    ),
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
        "return dout @ weight"
    )
    assert "returned a tuple of 2 values, but it must return a tuple of 3 values" in backward(
        "return dout @ weight, dout.T @ x"
    )


@pytest.mark.parametrize("axes, named", [((0,), True), ((-1,), False)])
def test_too_few_whole_numbers_are_shown_so_that_no_other_answer_is_named(axes, named):
    def channel_axes(ndim):
        return axes

    said = as_text(judge(workshop(find_chapter("10").exercises["channel_axes"]), channel_axes, 1))
    assert f"returned a tuple of 1 value, {axes}, but it must return a tuple of 3 values" in said
    assert ("known mistake: only the batch is averaged over" in said) == named


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


def test_a_right_count_as_a_float_is_not_taken_for_a_mistake_in_another_result():
    said = message(
        "def branch_multiplies(size, into, out, kernel, reduced=None):\n"
        "    convs = [(into, out, kernel)]\n    if reduced is not None:\n"
        "        convs = [(into, reduced, 1), (reduced, out, kernel)]\n"
        "    return float(sum(size**2 * k**2 * i * o for i, o, k in convs))",
        "branch_multiplies",
    )
    assert "with a reduction: got float64" in said
    assert "known mistake" not in said
