"""The command ``nyang``: what students, authors and CI call from a terminal."""

import argparse
import sys

from .files import CourseError
from .source import chapter_paths, find_chapter, load_chapter


def main(arguments=None):
    """Run one command; the exit code is 0, 1 for "not right yet", 2 for wrong use."""
    for stream in (sys.stdout, sys.stderr):  # a Windows console may not know every letter
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        print(f"nyang: {error}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="nyang", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, run, text, chapters="*"):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if chapters:
            command.add_argument("chapters", nargs=chapters, metavar="NN",
                                 help="chapters, as 3, 03 or 03_linear")
        return command

    add("prove", _prove, "prove that every check catches and names every known mistake")
    return parser


def _chapters(options):
    if not options.chapters:
        return [load_chapter(path) for path in chapter_paths()]
    return [find_chapter(key) for key in options.chapters]


def _prove(options):
    from .proving import as_table, prove

    proofs = prove(_chapters(options))
    print(as_table(proofs))
    for proof in proofs:
        for flaw in proof.flaws:
            print(f"not proven  {proof.exercise.chapter}/{proof.exercise.name}: {flaw}")
    return 0 if all(proof.complete for proof in proofs) else 1


if __name__ == "__main__":
    sys.exit(main())
