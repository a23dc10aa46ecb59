"""The command ``nyang``: what students, authors and CI call from a terminal."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import progress
from .answers import read_answers
from .building import build
from .exporting import (
    check_chapter,
    describe_export,
    export_chapter,
    notebook_path,
    restore_chapter,
)
from .files import CourseError, course_root, read_text, write_atomic
from .markdown import replace_section, section
from .modules import marks, module_path
from .notebook import hint
from .proving import as_table, in_all, prove
from .reporting import as_text, count
from .source import chapter_paths, find_chapter, load_chapter


def main(arguments=None):
    """Run one command; exit code 0, 1 for "not right yet", 2 for wrong use."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know every letter
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except CourseError as error:
        print(f"nyang: {error}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="nyang", description="Build deep learning.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, run, text, count="*"):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=run)
        command.add_argument("names", nargs=count, metavar="NN",
                             help="a chapter: 3, 03 or 03_linear")
        return command

    add("lab", _lab, "open JupyterLab on a chapter (the first one where none is named)", "?")
    add("status", _status, "show exercises, points, hints, and whose code the package holds")
    add("check", _check, "check the exercises of a saved notebook", "+")
    add("export", _export, "check, then put what passes into the package", "+")
    add("restore", _restore, "bring the reference's modules back", "+")
    add("hint", _hint, "show the next hint of an exercise, by its name", "+")
    _add_teaching(commands, add)
    command = add("build", _build, "build notebooks and modules from the sources")
    command.add_argument("--check", action="store_true",
                         help="change nothing; print differences and exit 1 if there are any")
    command.add_argument("--execute", action="store_true",
                         help="execute the solutions again even where nothing has changed")
    add("prove", _prove, "prove that every check catches and names every known mistake")
    _add_grade(commands)
    return parser


def _add_grade(commands):
    text = "grade a class's submissions, each confined, and write the results to a folder"
    command = commands.add_parser("grade", help=text, description=text)
    command.set_defaults(command=_grade)
    command.add_argument("submissions", help="a folder or an archive of submissions")
    command.add_argument("--out", required=True, metavar="DIR", help="where the results go")
    command.add_argument("-j", type=int, default=max(1, (os.cpu_count() or 2) - 1), metavar="N",
                         help="how many submissions at once")
    command.add_argument("--dask", metavar="ADDRESS", help="let the workers of a Dask cluster do "
                         "it; each needs the same checkout, and --nthreads 1")
    command.add_argument("--only", nargs="+", default=[], metavar="STUDENT")
    command.add_argument("--regrade", action="store_true", help="also what is done already")
    command.add_argument("--chapters", nargs="+", default=[], metavar="NN",
                         help="what was to be handed in; without, whatever is found")
    command.add_argument("--limit", type=float, default=10.0, metavar="SECONDS",
                         help="the most that one exercise may take (10)")
    command.add_argument("--no-nbval", action="store_true",
                         help="leave out running the whole notebook: only the points, faster")


def _chapters(names):
    if not names:
        return [load_chapter(path) for path in chapter_paths()]
    return [find_chapter(name) for name in names]


def _lab(options):
    root = course_root()
    chapter = find_chapter(options.names or chapter_paths(root)[0].stem, root)
    path = notebook_path(root, chapter).relative_to(root)
    command = [sys.executable, "-m", "jupyterlab", str(path)]
    ours = [os.environ.get("JUPYTER_CONFIG_PATH"), str(Path(__file__).parent)]  # labconfig/
    variables = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, ours))}
    try:
        return subprocess.call(command, cwd=root, env=variables)
    except KeyboardInterrupt:  # Ctrl+C stops the server, and that is all
        return 0


def _status(options):
    root, seen = course_root(), progress.load()
    for chapter in _chapters(options.names):
        answers = read_answers(chapter, notebook_path(root, chapter))
        states = {name: _state(answers.get(name), seen.get(name, {}), exercise)
                  for name, exercise in chapter.exercises.items()}
        earned = sum(chapter.exercises[name].points for name, state in states.items()
                     if state == "passed")
        total = chapter.points
        print(f"{chapter.name}  {earned} of {total} points  package: {_owner(root, chapter)}")
        for name, state in states.items():
            hints = seen.get(name, {}).get("hints", 0)
            points = count(chapter.exercises[name].points, "point")
            print(f"    {name:24} {points:8}  {state}"
                  + (f"  hints used: {hints}" if hints else ""))
    return 0


def _state(answer, entry, exercise):
    """What is known about the cell as it is saved now."""
    if answer is None:
        return "cell not found"
    mark = progress.fingerprint(answer.source)
    if mark == progress.fingerprint(exercise.cell.blank()):
        return "blank"
    if entry.get("fingerprint") != mark:
        return "edited, not checked"
    return "passed" if entry.get("passed") else "not passed"


def _owner(root, chapter):
    """Whose code the chapter's modules hold."""
    counts = [marks(module_path(root, module)) for module in chapter.modules()]
    yours, fallen = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return f"{yours} of {yours + fallen} exported exercises are yours" if yours else "reference"


def _check(options):
    complete = True
    for name in options.names:
        chapter, answers = check_chapter(name)
        for exercise in chapter.exercises:
            answer = answers.get(exercise)
            print(as_text(answer.report) if answer else f"not yet  {exercise}: no cell found")
        complete &= all(e in answers and answers[e].passed for e in chapter.exercises)
    return 0 if complete else 1


def _export(options):
    root = course_root()
    for name in options.names:
        chapter, answers, paths = export_chapter(name, root)
        print("\n".join(describe_export(root, chapter, answers, paths)))
    return 0


def _restore(options):
    root = course_root()
    for name in options.names:
        paths = restore_chapter(name, root)
        done = ", ".join(path.relative_to(root).as_posix() for path in paths)
        print(f"restored: {done or 'nothing, the reference was in place'}")
        if done:
            print(f"what stood there is kept in .nyang/kept; nyang export {name} puts yours back")
    return 0


def _hint(options):
    for name in options.names:
        hint(name)
    return 0


def _build(options):
    chapters = _chapters(options.names)
    count = build(chapters, options.check, options.execute)
    if not options.check and not options.names:
        readme, proofs = course_root() / "README.md", prove()
        text = read_text(readme)
        for name, content in _evidence(proofs).items():
            text = replace_section(text, name, content)
        count += write_atomic(readme, text)
    words = "differ from their source" if options.check else "written"
    print(f"nyang build: {len(chapters)} chapters, {count} files {words}")
    return 1 if options.check and count else 0


def _add_teaching(commands, add):
    """The commands of a teacher."""
    command = add("release", _release, "write a folder with chapters to hand out to a class")
    command.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    command.add_argument("--without-solutions", action="store_true",
                         help="hand out the course's own code only in compressed form")
    text = "write the reports of a grading again"
    command = commands.add_parser("report", help=text, description=text)
    command.set_defaults(command=_report)
    command.add_argument("out", metavar="DIR", help="what nyang grade wrote")
    command.add_argument("--roster", metavar="CSV",
                         help="the class as Canvas or Moodle exports it: whose grades are whose")


def _release(options):
    from ..classroom.release import release

    chapters = _chapters(options.names)
    count = release(chapters, options.out, not options.without_solutions)
    print(f"nyang release: {len(chapters)} chapters, {count} files in {options.out}")
    return 0


def _report(options):
    from ..classroom.reports import write_reports

    for path in write_reports(options.out, options.roster):
        print(path)
    return 0


def _evidence(proofs):
    """What the README shows of the proofs: {section: its content}."""
    return {"proof": as_table(proofs), "sums of the proof": in_all(proofs)}


def _prove(options):
    proofs = prove(_chapters(options.names))
    evidence = _evidence(proofs)
    print(*evidence.values(), sep="\n\n")
    flaws = [f"{proof.exercise.chapter}/{proof.exercise.name}: {flaw}"
             for proof in proofs for flaw in proof.flaws]
    if not options.names:
        text = read_text(course_root() / "README.md")
        flaws += [f"README.md shows another {name}: run nyang build"
                  for name, content in evidence.items() if section(text, name) != content]
    for flaw in flaws:
        print(f"not proven  {flaw}")
    return 1 if flaws else 0


def _grade(options):
    from ..classroom.command import main

    return main(options)


if __name__ == "__main__":
    sys.exit(main())
