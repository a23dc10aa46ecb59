"""Put a Report into words: plain text everywhere, HTML with pictures in JupyterLab."""

import html
import re
import textwrap

import numpy as np

WIDTH = 88


def as_text(report):
    """The whole message; the first line alone is enough to know what happened."""
    lines = [headline(report), *(f"  {line}" for line in body(report))]
    return "\n".join(lines)


def headline(report):
    """One line: passed and what was proven, or what is wrong and what is right."""
    name, points = report.exercise.name, report.exercise.points
    if report.passed:
        return f"passed  {name}: {report.proven} ({count(points, 'point')})"
    if report.failure:
        return f"not yet  {name} {_FAILURES[report.failure.kind].format(f=report.failure)}"
    wrong = ", ".join(d.name for d in report.differences)
    text = f"{wrong} {_is(report.differences)} wrong"
    if report.right:
        text += f"; {_listed(report.right)} {_is(report.right)} right"
    return f"not yet  {name}: {text}"


def _listed(names):
    shown = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return ", ".join(shown)


def _is(names):
    return "is" if len(names) == 1 else "are"


_FAILURES = {
    "blank": "is still blank. To do: {f.text}",
    "needs": "needs {f.text}, which is still blank",
    "slow": "was stopped: it was still running after {f.text} s",
    "raised": "stopped with {f.text}",
    "mutated": "changes its input {f.text}",
    "drifted": "leaves its input {f.text} a little changed",
    "returned": "has the wrong kind of result: {f.text}",
    "killed": "was stopped: {f.text}",
    "refused": "is not graded: it {f.text}, which no exercise needs",
}
_ADVICE = {
    "slow": "Look for a loop that never ends, or for Python loops over single elements.",
    "mutated": "The caller still needs that array. Write into a new one: "
               "`y = x * 2` makes one, `x *= 2` and `x[...] =` do not.",
    "drifted": "Moving an element up and back down leaves a rounding error. Work on a copy, "
               "or keep the old value and write it back.",
}


def body(report):
    """The lines under the headline: where it is wrong, known mistakes, how to go on."""
    if report.passed:
        return []
    lines = []
    if report.failure:
        lines += report.failure.where.splitlines() if report.failure.kind != "blank" else []
        lines += _advice(report.failure)
        if report.right:
            lines.append(f"right so far: {_listed(report.right)}")
    reveal = report.exercise.cell.meta.get("reveal", True)
    lines += [f"{d.name}: {d.text if reveal else without_answer(d)}"
              for d in report.differences if d.kind != "missing"]
    for mistake, names in report.named:
        where = f" (in {', '.join(names)})" if len(report.named) > 1 else ""
        lines.append(f"known mistake{where}: {mistake.name}")
        lines += [f"  {line}" for line in textwrap.wrap(mistake.hint, WIDTH - 8)]
    return lines + _next_steps(report)


def _advice(failure):
    if failure.kind == "raised" and failure.text.startswith("NameError"):
        return ["A helper of your own needs `#| export` as its cell's first line."]
    if failure.text.startswith("SyntaxError") and re.match(r"line \d+:\s+[%!]", failure.where):
        return ["A module cannot hold lines with % or !: move them to a cell of their own."]
    return [_ADVICE[failure.kind]] if failure.kind in _ADVICE else []


def without_answer(difference):
    """A prediction's verdict must not print what was to be predicted."""
    if difference.got is not None and difference.got.dtype.kind == "b":
        return "this does not hold"
    if difference.kind == "value" and difference.got.size <= 8:
        return f"it is not {difference.got.tolist()}"
    return {"shape": f"its shape is not {difference.got.shape}"}.get(
        difference.kind, "it is not right")


def _next_steps(report):
    name = report.exercise.name
    if report.failure and report.failure.kind == "blank":
        return [f'where to begin: hint("{name}")']
    if report.failure and report.failure.kind == "needs":
        return [f"write {report.failure.text} first, and run its cell"]
    return [f"the same draw again: check({name}, seed={report.seed})", f'help: hint("{name}")']


def count(number, word):
    """``3 points``, ``1 point``."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def as_html(report):
    """The same message as a card, with got, expected and difference drawn."""
    colour = "#2e7d32" if report.passed else "#b3541e"
    lines = "".join(f"<div style='margin-left:1.2em;white-space:pre-wrap{_weight(line)}'>"
                    f"{_escape(line)}</div>" for line in body(report))
    return (
        f"<div style='border-left:4px solid {colour};padding:2px 10px;font-family:monospace'>"
        f"<div style='white-space:pre-wrap'>{_escape(headline(report))}</div>"
        f"{lines}{_pictures(report)}</div>"
    )


def _weight(line):
    return ";font-weight:bold" if line.startswith("known mistake") else ""


def _escape(text):
    return html.escape(str(text))


def _pictures(report):
    if not report.exercise.cell.meta.get("reveal", True):
        return ""
    drawable = [d for d in report.differences if d.kind == "value" and _is_grid(d.got)]
    return "".join(draw_difference(d) for d in drawable[:2])


def _is_grid(array):
    return array.ndim >= 2 and array.dtype.kind in "fiub" and max(array.shape[-2:]) <= 32


def draw_difference(difference):
    """Got, expected and difference side by side, as SVG; of a stack, the worst slice."""
    got, want = difference.got.astype(float), difference.want.astype(float)
    error = np.nan_to_num(got - want, nan=np.inf)
    if got.ndim > 2:
        flat = np.abs(error).reshape(-1, *got.shape[-2:])
        worst = np.unravel_index(int(flat.max(axis=(1, 2)).argmax()), got.shape[:-2])
        got, want, error = got[worst], want[worst], error[worst]
    finite = np.abs(want[np.isfinite(want)]).max(initial=1e-12)
    panels = [(got, "got"), (want, "expected"), (error, "difference")]
    drawn = "".join(_panel(a, label, finite) for a, label in panels)
    legend = "orange is above 0, blue below, white 0"
    return f"<div style='margin:6px 0'>{_escape(difference.name)}: {legend}<br>{drawn}</div>"


def _panel(array, label, scale):
    """One matrix as coloured squares: blue below zero, orange above, grey for no number."""
    rows, columns = array.shape
    cell = max(6, min(22, 180 // max(rows, columns)))
    squares = "".join(
        f"<rect x='{c * cell}' y='{r * cell}' width='{cell}' height='{cell}' "
        f"fill='{_colour(array[r, c], scale)}'><title>{label}[{r}, {c}] = {array[r, c]:.6g}"
        "</title></rect>"
        for r in range(rows) for c in range(columns)
    )
    return (
        f"<figure style='display:inline-block;margin:4px 14px 0 0'><svg width='{columns * cell}' "
        f"height='{rows * cell}' style='border:1px solid #999'>{squares}</svg>"
        f"<figcaption>{label}</figcaption></figure>"
    )


def _colour(value, scale):
    if not np.isfinite(value):
        return "#888888"
    share = float(np.clip(value / scale, -1, 1))
    strong = (214, 104, 28) if share > 0 else (44, 104, 176)
    r, g, b = (round(255 + (channel - 255) * abs(share)) for channel in strong)
    return f"#{r:02x}{g:02x}{b:02x}"
