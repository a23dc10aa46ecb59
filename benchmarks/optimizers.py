"""Run ``python -m benchmarks.optimizers [--millions 10] [--rounds 5] [--threads 1]``.

One step over a large float32 parameter: in pieces, whole, and PyTorch's two ways. All contenders
take turns in one process; a ratio is taken within a round, so that a noisy machine slows all alike.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from nyang_edu.model.core import Parameter
from nyang_edu.training.adaptive import AdaBound, Adam, AdamW, RMSprop

CASES = {
    "RMSprop": (RMSprop, lambda p, **s: torch.optim.RMSprop(p, alpha=0.9, **s)),
    "Adam": (Adam, torch.optim.Adam),
    "AdamW": (AdamW, torch.optim.AdamW),
    "AdaBound": (AdaBound, None),
}


def contenders(ours, theirs, count):
    """Build each contender's step on a parameter of its own; a dict from name to step."""
    rng, steps = np.random.default_rng(0), {}
    for name in ["pieces", "whole"]:
        parameter = Parameter(rng.standard_normal(count, np.float32))
        parameter.grad[...] = rng.standard_normal(count, np.float32)
        optimizer = ours([parameter])
        if name == "whole":
            optimizer.piece_size = count
        steps[name] = optimizer.step
    for foreach in (False, True) if theirs else ():
        parameter = torch.nn.Parameter(torch.tensor(rng.standard_normal(count, np.float32)))
        parameter.grad = torch.tensor(rng.standard_normal(count, np.float32))
        steps[f"foreach={foreach}"] = theirs([parameter], foreach=foreach).step
    return steps


def take_turns(steps, rounds):
    """Time one step of each per round, after one that does not count; name to seconds."""
    times = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def row(name, times):
    """Return a line: the least milliseconds, and the median ratio of each to the pieces."""
    cells = []
    for seconds in times.values():
        ratio = statistics.median(a / b for a, b in zip(seconds, times["pieces"], strict=True))
        cells.append(f"{1000 * min(seconds):7.1f} ms {ratio:5.2f}")
    return f"{name:14}" + "   ".join(cells)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"one step, {given.millions:g} million float32 weights; time / time in pieces\n"
          f"{'':14}" + "   ".join(f"{title:>16}" for title in (
              "pieces", "whole", "torch single", "torch foreach")))
    for name, (ours, theirs) in CASES.items():
        steps = contenders(ours, theirs, int(given.millions * 1e6))
        print(row(name, take_turns(steps, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
