"""What a student gets back: one page, each exercise with its verdict and what it means."""

from types import SimpleNamespace

import numpy as np

from ..course.reporting import count, draw_difference
from .pages import element, escape, name_of, page
from .records import array_from

PICTURES, WIDEST = 2, 32  # drawn for one exercise; elements along one side of a picture
VERDICTS = {
    "passed": "passed", "wrong": "not right yet", "blank": "still blank",
    "needs": "waits for another exercise", "raised": "stopped with an error",
    "slow": "ran out of time", "killed": "was ended from outside", "refused": "was refused",
    "missing": "no cell found"}
STATES = {
    "missing": "No notebook was found.", "unreadable": "The notebook could not be read.",
    "unknown": "It could not be told which chapter this is.",
    "set-aside": "Grading was given up: it stopped the grader three times."}


def feedback_page(results):
    """The page of one student as HTML; ``results`` are that student's, one for each chapter."""
    student = results[0]["student"]
    points, most = (sum(result[key] for result in results) for key in ("points", "max"))
    head = element("h1", name_of(student)) + element(
        "p", f"{points} of {count(most, 'point')}", class_="soft")
    return page(f"Feedback for {student}", head + "\n".join(map(_chapter, results)))


def _chapter(result):
    title = result.get("title") or result["chapter"] or "A notebook"
    number = (result["chapter"] or "").split("_")[0]
    heading = element("h2", escape(f"{number} {title}".strip()))
    facts = [f"{result['points']} of {count(result['max'], 'point')}", result["source"]]
    if ran := result.get("nbval"):
        facts.append(f"cells that ran: {ran['passed']}, that failed: {ran['failed']}")
    parts = [heading, element("p", escape(" · ".join(filter(None, facts))), class_="soft")]
    if result["state"] != "ok":
        words = STATES.get(result["state"], result["state"])
        parts.append(_note(f"{words} {result['reason']}"))
    parts += [_note(note) for note in result.get("notes", [])]
    return "\n".join([*parts, *map(_exercise, result["exercises"])])


def _note(text):
    return element("div", escape(text), class_="note")


def _exercise(entry):
    passed = entry["verdict"] == "passed"
    parts = [_title(entry), element("pre", escape(_headline(entry)))]
    if not passed:
        parts += [_message(entry), *map(_mistake, entry["mistakes"]), _pictures(entry)]
    parts.append(_reproduce(entry))
    kind = "passed" if passed else "idle" if entry["verdict"] == "blank" else "failed"
    return element("article", "\n".join(filter(None, parts)), class_=kind)


def _title(entry):
    verdict = VERDICTS.get(entry["verdict"], entry["verdict"])
    return element("h3", element("code", escape(entry["name"]))
                   + element("span", escape(verdict), class_="verdict")
                   + element("span", f"{entry['points']} of {count(entry['max'], 'point')}",
                             class_="soft"))


def _headline(entry):
    """The check's first line without verdict and name, which the title has said."""
    text = entry["headline"].removeprefix("passed  ").removeprefix("not yet  ")
    return text.removeprefix(f"{entry['name']}: ")


def _message(entry):
    """The check's other lines, without what this page says in its own way below."""
    lines, hint = [], False
    for line in entry["message"]:
        hint = line.startswith("known mistake") or hint and line.startswith("  ")
        if not hint and not line.startswith("the same draw again"):
            lines.append(line)
    return element("pre", escape("\n".join(lines))) if lines else ""


def _mistake(mistake):
    where = f" (in {', '.join(mistake['arrays'])})" if mistake["arrays"] else ""
    words = element("b", escape(f"known mistake: {mistake['name']}{where}"))
    return element("div", words + escape(mistake["hint"]), class_="mistake")


def _pictures(entry):
    drawn = [picture for difference in entry["differences"] if (picture := _picture(difference))]
    return element("div", "".join(drawn[:PICTURES]), class_="pictures") if drawn else ""


def _picture(difference):
    """Got, expected and difference drawn; "" where there is nothing to draw."""
    if difference["kind"] != "value" or not (difference["got"] and difference["want"]):
        return ""
    got, want = (array_from(difference[key]) for key in ("got", "want"))
    if got.ndim == 1:
        got, want = got[None], want[None]
    if got.ndim < 2 or got.dtype.kind not in "fiub" or max(got.shape[-2:]) > WIDEST or not got.size:
        return ""
    return draw_difference(SimpleNamespace(name=difference["name"], got=got,
                                           want=want.astype(np.float64)))


def _reproduce(entry):
    parts = []
    if entry["seed"] is not None:
        call = element("code", escape(f'check({entry["name"]}, seed={entry["seed"]})'))
        parts.append(f"the same draw again: {call}")
    if entry.get("hints"):
        parts.append(count(entry["hints"], "hint") + " used")
    return element("p", " · ".join(parts), class_="soft") if parts else ""
