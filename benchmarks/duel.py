"""Let contenders take turns, and compare what each needed in the same round."""

import json
import os
import statistics
import subprocess
import sys
import time

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # settings that choose another BLAS kernel
DISTURBED = 0.1  # a round counts where nobody's threads waited longer than this share of its time


class Worker:
    """A contender's process; ask() sends an order and waits for the answer."""

    def __init__(self, contender, threads, suite="", module="benchmarks.worker"):
        environment = {k: v for k, v in os.environ.items() if k not in SLOWING}
        environment.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
        self.contender = contender
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, contender, str(threads), suite],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **order):
        """Return the answer to an order."""
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.contender} ended while it was asked to {order}")
        return json.loads(line)

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def duel(workers, rounds, turn=0.25, patience=3):
    """Time the workers in alternating order.

    Args:
        workers: dict from contender to Worker, all with a step built.
        rounds: how many undisturbed rounds to gather.
        turn: seconds that a turn lasts about.
        patience: how many times as many rounds to try.

    Returns:
        dict from contender to the list of its median seconds per round, and the share of rounds
        that were undisturbed; where fewer than three were, all rounds count.
    """
    counts = {}
    for name, worker in workers.items():
        counts[name] = max(1, min(200, int(turn / min(worker.ask(op="run", count=2)["times"]))))
    clean, every = [], []
    while len(clean) < rounds and len(every) < patience * rounds:
        order = list(workers) if len(every) % 2 == 0 else list(workers)[::-1]
        answers = {}
        for name in order:
            answers[name] = workers[name].ask(op="run", count=counts[name])
            time.sleep(0.05)  # idle threads of the last one go to sleep
        every.append({name: statistics.median(answers[name]["times"]) for name in workers})
        if max(answer["waited"] for answer in answers.values()) <= DISTURBED:
            clean.append(every[-1])
    kept = clean if len(clean) >= 3 else every
    return {name: [one[name] for one in kept] for name in workers}, len(clean) / len(every)


def ratios(medians, one, other):
    """Return the median, least and largest per-round ratio of two contenders."""
    values = [a / b for a, b in zip(medians[one], medians[other], strict=True)]
    return statistics.median(values), min(values), max(values)
