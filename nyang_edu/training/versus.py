"""Against PyTorch: the same weights and the same batch in both, the first loss, then the time.

Two libraries in one process disturb each other's threads, so each gets a single one here.
``python -m benchmarks`` measures with a process for each; its record can be quoted.
"""

import json
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

import numpy as np

from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.utility.team import ThreadpoolController, set_threads, thread_count

__all__ = ["recorded_ratio", "versus_torch"]

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "models.json"


def versus_torch(ours, theirs, x, y, names=None, rounds=3):
    """Train one step in both, by turns, from our weights, with cross-entropy.

    Args:
        ours: a NyangModel, x → logits; theirs: the same as a torch.nn.Module.
        x, y: a batch and its class ids, as NumPy arrays.
        names: {name in our state_dict: name in theirs}; None where they agree.
        rounds: how often each is timed, after one step that is not.

    Returns:
        the difference of the first losses; the shortest seconds of a step, ours and theirs.
    """
    import torch

    theirs.load_state_dict({names[name] if names else name: torch.tensor(array)
                            for name, array in ours.state_dict().items()})
    loss, tx, ty = CrossEntropyLoss(), torch.tensor(x), torch.tensor(y)

    def here():
        value = loss(ours(x), y)
        ours.backward(loss.backward())
        return value

    def there():
        value = torch.nn.functional.cross_entropy(theirs(tx), ty)
        value.backward()
        return value.item()

    with _one_thread(torch):
        difference = abs(here() - there())
        times = [(_seconds(here), _seconds(there)) for _ in range(rounds)]
    return difference, *np.min(times, axis=0).tolist()


@contextmanager
def _one_thread(torch):
    """Give each library a single thread until the block ends, and NumPy's BLAS too."""
    before = thread_count(), torch.get_num_threads()
    set_threads(1), torch.set_num_threads(1)
    try:
        with ThreadpoolController().limit(limits=1) if ThreadpoolController else nullcontext():
            yield
    finally:
        set_threads(before[0]), torch.set_num_threads(before[1])


def _seconds(step):
    start = perf_counter()
    step()
    return perf_counter() - start


def recorded_ratio(name):
    """Say what the benchmarks recorded for a model, or that there is no record."""
    if not RESULTS.exists():
        return "no benchmark is recorded here"
    row = json.loads(RESULTS.read_text(encoding="utf-8"))[name]
    return (f"recorded, two threads, 10 classes: ratio {row['ratio_min']:.1f} to "
            f"{row['ratio_max']:.1f}, median {row['ratio']:.1f}")
