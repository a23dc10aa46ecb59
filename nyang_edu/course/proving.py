"""Prove the checks: blank scores 0, the reference scores full, every mistake gets its name.

A check that cannot fail proves nothing about a student. So each known mistake is played as
a student's answer, over many seeds, and must lose its points under its own name.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations

from .diagnosing import STOPPED, judge, name_mistakes, wrong_of_mistake
from .markdown import table
from .probing import Outcome, run_rounds
from .reference import workshop
from .source import chapter_paths, load_chapter

SEEDS = 20


@dataclass
class Proof:
    """The evidence about one exercise; ``flaws`` says in words what is not proven."""

    exercise: object
    blank: int = 0
    full: int = 0
    mistakes: int = 0
    caught: int = 0
    named: int = 0
    pairs: int = 0
    flaws: list = field(default_factory=list)


def prove_exercise(exercise, seeds=SEEDS):
    """Play the blank, the reference and every known mistake through the check."""
    seeds = min(seeds, exercise.cell.meta.get("seeds", seeds))  # fewer where a probe has to wait
    shop = workshop(exercise)
    mistakes = shop.mistakes
    proof = Proof(exercise, mistakes=len(mistakes))
    _prove_ends(shop, proof, seeds)
    for mistake in mistakes:
        reports = [judge(shop, mistake.implementation, seed) for seed in range(seeds)]
        missed = [r.seed for r in reports if r.passed]
        others = {m.name for r in reports for m, _ in r.named} - {mistake.name}
        unnamed = [r.seed for r in reports if [m.name for m, _ in r.named] != [mistake.name]]
        proof.caught += not missed
        proof.named += not unnamed
        if missed:
            proof.flaws.append(f"{mistake.name!r} passes with seeds {missed}")
        elif unnamed:
            proof.flaws.append(f"{mistake.name!r} is not named with seeds {unnamed}, "
                               f"but {sorted(others) or 'nothing'}")
    _prove_pairs(shop, mistakes, proof)
    if len(mistakes) < 3 or len(exercise.hints) < 3:
        proof.flaws.append(f"{len(mistakes)} mistakes and {len(exercise.hints)} hints: "
                           "an exercise needs at least three of each")
    return proof


def _prove_ends(shop, proof, seeds):
    """The blank must never pass, the reference always."""
    points, blank = shop.exercise.points, shop.blank()
    if any(judge(shop, blank, seed).passed for seed in range(seeds)):
        proof.blank = points
        proof.flaws.append("the blank exercise passes")
    if all(judge(shop, shop.reference, seed).passed for seed in range(seeds)):
        proof.full = points
    else:
        proof.flaws.append("the reference does not pass")
    stops = [o.failure for seed in range(seeds, 5 * seeds)  # a rare draw must not stop it either
             for o in run_rounds(shop.probe(), shop.reference, seed) if o.failure]
    if stops:
        proof.flaws.append(f"the reference stops on {len(stops)} draws: {stops[0]}")


def _prove_pairs(shop, mistakes, proof):
    """Two mistakes made at once in different arrays must both be named."""
    wanted = shop.outcomes(shop.reference, 0)
    made = {m.name: shop.outcomes(m.implementation, 0) for m in mistakes}
    wrong = {m.name: wrong_of_mistake(shop, m, 0) for m in mistakes}
    for one, two in combinations(made, 2):
        if not wrong[one] or not wrong[two] or wrong[one] & wrong[two]:
            continue
        if STOPPED in wrong[one] | wrong[two]:
            continue
        mixed = [Outcome({**a.arrays, **{n: b.arrays[n] for n in wrong[two]}})
                 for a, b in zip(made[one], made[two], strict=True)]
        named = {m.name for m, _ in name_mistakes(shop, 0, mixed, wanted)}
        proof.pairs += 1
        if not {one, two} <= named:
            proof.flaws.append(f"{one!r} and {two!r} at once are named {sorted(named)}")


def prove(chapters=None, seeds=SEEDS):
    """The Proofs of all exercises of the chapters (all where None), in order."""
    chapters = chapters or [load_chapter(path) for path in chapter_paths()]
    exercises = [exercise for chapter in chapters for exercise in chapter.exercises.values()]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(prove_exercise, exercises, [seeds] * len(exercises)))


def as_table(proofs):
    """The kill table as Markdown."""
    head = ["chapter", "exercise", "points", "blank scores", "reference scores", "mistakes",
            "caught", "named", "pairs named"]
    rows = [[p.exercise.chapter, f"`{p.exercise.name}`", p.exercise.points, p.blank, p.full,
             p.mistakes, p.caught, p.named, p.pairs] for p in proofs]
    sums = [sum(row[i] for row in rows) for i in range(2, len(head))]
    return table(head, [*rows, ["**all**", f"{len(rows)} exercises", *sums]], texts=2)


def in_all(proofs):
    """The kill table's sums in a sentence."""
    def total(name):
        return f"{sum(getattr(proof, name) for proof in proofs):,}"

    points = sum(proof.exercise.points for proof in proofs)
    return (f"**{len(proofs)} exercises, {points} points: the blanks score {total('blank')}, the "
            f"references {total('full')}. {total('mistakes')} known mistakes: {total('caught')} "
            f"caught, {total('named')} called by their own names; {total('pairs')} pairs named.**")
