"""A class's results as ``nyang grade`` leaves them, made up: for the tests of the reports."""

import json

import numpy as np

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


def stored(array):
    """An array as a result holds it."""
    array = np.asarray(array)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.tolist()}


def entry(name, most, verdict="passed", **more):
    """One exercise of a result."""
    base = {"name": name, "max": most, "points": most if verdict == "passed" else 0, "stars": 2,
            "verdict": verdict, "headline": f"not yet  {name}: dx is wrong", "message": [],
            "seed": 123456, "mistakes": [], "differences": [], "right": [], "hints": None,
            "seconds": 0.08}
    if verdict == "passed":
        base["headline"] = f"passed  {name}: dx equals the reference on 5 random draws"
    return {**base, **more}


def averaged():
    """The most common mistake of chapter 03, with its picture."""
    want = np.arange(12.0).reshape(3, 4) - 5
    message = ["dweight: got -1.25 at [0, 0], expected -5 (the worst of 11 wrong elements)",
               "known mistake: dweight is averaged over the batch",
               "  The loss divides by N already.",
               "the same draw again: check(linear_backward, seed=123456)",
               'help: hint("linear_backward")']
    return entry(
        "linear_backward", 3, "wrong", message=message, hints=2,
        headline="not yet  linear_backward: dweight is wrong; dx, dbias are right",
        mistakes=[{"name": "dweight is averaged over the batch",
                   "hint": "The loss divides by N already.", "arrays": ["dweight"]}],
        differences=[{"name": "dweight", "kind": "value", "text": "got …", "got": stored(want / 4),
                      "want": stored(want)},
                     {"name": "dbias", "kind": "value", "text": "got …",
                      "got": stored(np.ones(4)), "want": stored(np.arange(4.0))}])


def hand_in(out, key, student, exercises=(), chapter="03_linear", **more):
    """Write one result below ``out`` and return it."""
    result = {
        "format": 1, "submission": f"{key}--{chapter}", "student_id": key, "student": student,
        "source": f"submitted/{student}/{chapter}.ipynb", "chapter": chapter,
        "title": "The linear layer", "state": "ok", "reason": "", "notes": [],
        "points": sum(e["points"] for e in exercises), "max": sum(e["max"] for e in exercises),
        "seconds": 1.84, "graded_at": "2026-11-28T04:00:00+00:00", "course": "9f3e",
        "confinement": {"level": "bubblewrap", "missing": []}, "nbval": None,
        "exercises": list(exercises), **more}
    path = out / "results" / f"{result['submission']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result), encoding="utf-8")
    return result


def small_class(out):
    """Six hand-ins: right, one mistake twice, hostile text, a blank, an unreadable file."""
    forward = entry("linear_forward", 2)
    hand_in(out, "ada-11", "Ada", [forward, entry("linear_backward", 3), entry("Linear", 4)])
    hand_in(out, "ada-22", "Ada", [forward, averaged(), entry("Linear", 4, "needs")])
    hand_in(out, "kim-33", "김민지 🐱", [forward, averaged(), entry("Linear", 4)],
            notes=["the file is UTF-16"], nbval={"passed": 21, "failed": 2})
    hand_in(out, "eve-44", f'=HYPERLINK("x")\u202e{SCRIPT}\ud83d', [
        forward, entry("linear_backward", 3, "raised", seed=None,
                       headline=f"not yet  linear_backward stopped with ValueError: {SCRIPT}",
                       message=[f"line 2: {SCRIPT}"]),
        entry("Linear", 4, "killed", headline="@SUM(1) it used more than 1 GB")])
    hand_in(out, "bob-55", "Bob", [
        entry(n, m, "blank", headline=f"not yet  {n} is still blank. To do: one row of outputs")
        for n, m in (("linear_forward", 2), ("linear_backward", 3), ("Linear", 4))])
    hand_in(out, "zoe-66", "Zoë", state="unreadable", reason=f"not JSON: {SCRIPT}", max=9,
            confinement={"level": "limits", "missing": ["No bubblewrap:", "the network is open."]})
    return out
