"""One graded result as JSON, written whole or not at all, and read back one at a time."""

import json
import sys
from pathlib import Path

import numpy as np

from ..course.files import write_atomic
from ..course.reporting import as_text, without_answer

FORMAT, MOST_ELEMENTS, MOST_TEXT = 1, 1024, 4000
_VERDICTS = {"blank", "needs", "raised", "slow", "killed", "refused"}


def exercise_record(scored, hints=None):
    """The entry of one exercise in a result."""
    exercise, report = scored.exercise, scored.report
    record = {"name": exercise.name, "points": exercise.points if scored.passed else 0,
              "max": exercise.points, "stars": exercise.stars, "verdict": verdict(report),
              "headline": f"not yet  {exercise.name}: no cell found", "message": [],
              "seed": None, "mistakes": [], "differences": [], "right": [],
              "hints": hints, "seconds": scored.seconds}
    return record | _said(report) if report else record


def verdict(report):
    """One word for what became of an exercise."""
    if report is None:
        return "missing"
    if report.passed:
        return "passed"
    return report.failure_kind if report.failure_kind in _VERDICTS else "wrong"


def _said(report):
    headline, *message = [_short(line) for line in as_text(report).splitlines()]
    reveal = report.exercise.cell.meta.get("reveal", True)
    return {"headline": headline, "message": [line.removeprefix("  ") for line in message],
            "seed": report.seed, "right": [_short(name) for name in report.right],
            "mistakes": [{"name": mistake.name, "hint": mistake.hint, "arrays": list(names)}
                         for mistake, names in report.named],
            "differences": [_difference(d, reveal) for d in report.differences]}


def _difference(difference, reveal):
    text = difference.text if reveal else without_answer(difference)
    record = {"name": difference.name, "kind": difference.kind, "text": _short(text),
              "got": None, "want": None}
    if reveal:
        record |= {"got": _array(difference.got), "want": _array(difference.want)}
    return record


def _short(text):
    """Text that a file can hold: not too long, and no halves of surrogate pairs."""
    return str(text)[:MOST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _array(array):
    if array is None or array.size > MOST_ELEMENTS or array.dtype.kind not in "biufUS":
        return None
    return {"dtype": array.dtype.str if array.dtype.kind in "US" else str(array.dtype),
            "shape": list(array.shape), "data": _plain(array.tolist())}


def _plain(value):
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, (str, bytes)):
        return _short(value if isinstance(value, str) else value.decode(errors="replace"))[:200]
    return value


def array_from(record):
    """The array of an ``ARRAY`` in a result."""
    dtype = np.dtype(record["dtype"])
    return np.array(record["data"], dtype).reshape(record["shape"])


def write_result(out, result):
    """Write one result where ``read_results`` finds it."""
    text = json.dumps(result, ensure_ascii=False, indent=1)
    return write_atomic(Path(out) / "results" / f"{result['submission']}.json", text + "\n")


def read_results(out):
    """Yield every result in OUT, one at a time, sorted by file name; broken ones are skipped."""
    for path in sorted((Path(out) / "results").glob("[!.]*.json")):
        try:
            result = json.loads(path.read_text("utf-8"))
            if result["format"] != FORMAT:
                raise ValueError(f"format {result['format']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"nyang: {path} is skipped, it is no result: {error}", file=sys.stderr)
            continue
        yield result
