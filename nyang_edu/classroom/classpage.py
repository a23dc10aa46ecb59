"""What a teacher looks at first: where the class stands, and which mistakes it makes.

Everything is kept as running counts: all that a further student adds is one number for the name.
"""

from collections import Counter
from dataclasses import dataclass, field

from ..course.reporting import count
from .charts import histogram, small_bar, stacked_bars
from .feedback import STATES
from .pages import element, escape, page, table
from .roster import simple

FAILED = ("wrong", "needs", "raised", "slow", "killed", "refused", "missing")


@dataclass
class ExerciseCounts:
    """How a class did on one exercise."""

    points: int = 0
    verdicts: Counter = field(default_factory=Counter)
    mistakes: Counter = field(default_factory=Counter)  # (name, hint) → students
    seconds: float = 0.0
    slowest: float = 0.0
    hints: int = 0

    def add(self, entry):
        """Count one student's answer; a mistake counts once, however often it shows."""
        self.points = entry["max"]
        self.verdicts[entry["verdict"]] += 1
        self.mistakes.update({(m["name"], m["hint"]) for m in entry["mistakes"]})
        self.seconds += entry["seconds"]
        self.slowest = max(self.slowest, entry["seconds"])
        self.hints += entry["hints"] or 0

    @property
    def total(self):
        """How many answers were counted."""
        return self.verdicts.total()


@dataclass
class ChapterCounts:
    """How a class did on one chapter."""

    title: str = ""
    most: int = 0
    points: Counter = field(default_factory=Counter)  # points → students
    exercises: dict = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, result):
        """Count one student's chapter."""
        self.title, self.most = result["title"] or self.title, max(self.most, result["max"])
        self.points[result["points"]] += 1
        self.seconds += result["seconds"]
        for entry in result["exercises"]:
            self.exercises.setdefault(entry["name"], ExerciseCounts()).add(entry)


@dataclass
class ClassCounts:
    """The whole class: chapters in order, and what became of the hand-ins."""

    chapters: dict = field(default_factory=dict)
    states: Counter = field(default_factory=Counter)
    gaps: Counter = field(default_factory=Counter)  # what confinement lacks → submissions
    names: Counter = field(default_factory=Counter)  # hash of a name → students who bear it
    latest: str = ""  # the student of the last result: one student's results come together

    def add(self, result):
        """Count one result."""
        self.states[result["state"]] += 1
        if result["student_id"] != self.latest:
            self.latest = result["student_id"]
            self.names[hash(simple(result["student"]))] += 1
        self.gaps.update({" ".join(result["confinement"]["missing"])} - {""})
        if result["chapter"] and result["state"] == "ok":
            self.chapters.setdefault(result["chapter"], ChapterCounts()).add(result)

    def shared(self, name):
        """True where two students bear this name: it does not say whose the points are."""
        return self.names[hash(simple(name))] > 1


def class_page(counts):
    """The class page as HTML."""
    parts = [element("h1", "The class"), _overview(counts)]
    parts += [_chapter(name, counts.chapters[name]) for name in sorted(counts.chapters)]
    return page("The class", "\n".join(parts))


def _overview(counts):
    graded = count(counts.states["ok"], "submission") + " graded"
    others = "".join(element("li", f"{number} × {escape(STATES.get(state, state))}")
                     for state, number in sorted(counts.states.items()) if state != "ok")
    gaps = "".join(element("div", escape(f"{gap} ({count(number, 'submission')})"), class_="note")
                   for gap, number in counts.gaps.items())
    links = ('<a href="students.html">every student</a> · <a href="grades.csv">grades.csv</a> · '
             '<a href="gradebook/canvas.csv">for Canvas</a> · '
             '<a href="gradebook/moodle.csv">for Moodle</a>')
    return element("p", f"{graded}. {links}") + (element("ul", others) if others else "") + gaps


def _chapter(name, chapter):
    number, _, _ = name.partition("_")
    students = chapter.points.total()
    mean = sum(points * how_many for points, how_many in chapter.points.items()) / students
    facts = (f"{count(students, 'student')}, {mean:.1f} of {chapter.most} points on average, "
             f"{chapter.seconds / students:.1f} s of grading each")
    return "\n".join([
        element("h2", escape(f"{number} {chapter.title or name}")),
        element("p", facts, class_="soft"),
        element("h3", "Points"), histogram(chapter.points, chapter.most),
        element("h3", "Exercises"), _key(), _pass_rates(chapter), _exercises(chapter),
        element("h3", "Known mistakes"), _mistakes(chapter)])


def _key():
    square = '<svg width="12" height="12"><rect class="{}" width="12" height="12"/></svg> {}'
    kinds = (("good", "passed"), ("bad", "tried, not right yet"), ("idle", "blank"))
    return element("p", " &nbsp; ".join(square.format(*kind) for kind in kinds), class_="soft")


def _pass_rates(chapter):
    rows = []
    for name, counts in chapter.exercises.items():
        passed, failed = counts.verdicts["passed"], sum(counts.verdicts[v] for v in FAILED)
        parts = [("good", passed), ("bad", failed), ("idle", counts.verdicts["blank"])]
        rows.append((name, parts, f"{100 * passed / counts.total:.0f} % passed"))
    return stacked_bars(rows, max((c.total for c in chapter.exercises.values()), default=0))


def _exercises(chapter):
    head = ["exercise", "points", "passed", "not right", "stopped or ended", "blank", "missing",
            "hints used", "mean seconds", "longest"]
    rows = []
    for name, counts in chapter.exercises.items():
        verdicts = counts.verdicts
        stopped = sum(verdicts[v] for v in ("raised", "slow", "killed", "refused"))
        numbers = [counts.points, verdicts["passed"], verdicts["wrong"] + verdicts["needs"],
                   stopped, verdicts["blank"], verdicts["missing"], counts.hints,
                   f"{counts.seconds / counts.total:.2f}", f"{counts.slowest:.2f}"]
        rows.append([element("code", escape(name)), *map(str, numbers)])
    words = ("The seconds are those that an answer ran while it was checked. Hints are what the "
             "students' own machines recorded.")
    return table(head, rows, range(1, 10)) + element("p", words, class_="soft")


def _mistakes(chapter):
    """Each named mistake, the most frequent first, with a bar and what leads out of it."""
    found = sorted(((number, exercise, name, hint)
                    for exercise, counts in chapter.exercises.items()
                    for (name, hint), number in counts.mistakes.items()),
                   key=lambda one: (-one[0], one[1], one[2]))
    if not found:
        return element("p", "None was recognised.")
    most = found[0][0]
    rows = [[str(number), small_bar(number / most), element("code", escape(exercise)),
             element("b", escape(name)) + "<br>" + element("span", escape(hint), class_="soft")]
            for number, exercise, name, hint in found]
    return table(["students", "", "exercise", "mistake"], rows, [0])
