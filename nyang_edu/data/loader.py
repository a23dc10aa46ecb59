# Exported from chapter 11. Change the notebook, then export again.
"""The loader: batches of a dataset, in an order and with pixels that depend on numbers only."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np


def epoch_order(count, epoch, seed, shuffle=True):
    """Return the order in which an epoch visits the samples 0 … count − 1, each once.

    Args:
        count: the number of samples; may be 0.
        epoch, seed: integers of at least 0; each pair has an order of its own.
        shuffle: False gives 0, 1, 2, … in every epoch.

    Returns:
        (count,) integers; the same arguments give the same order.
    """
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


def sample_rng(seed, epoch, index):
    """Make the generator that augments sample index in an epoch.

    Args:
        seed, epoch, index: integers of at least 0.

    Returns:
        a new np.random.Generator; equal arguments give equal ones, all others differ, also
        from the generator np.random.default_rng([seed, epoch]).

    Source: NumPy documentation, "Parallel random number generation", "Sequence of integer seeds".
    """
    return np.random.default_rng([seed, epoch, index, 1])  # the 1: zeros at the end do not count


def prefetch_map(function, items, workers, ahead):
    """Yield function(item) for each item, in order, while threads work in advance.

    Args:
        function: called as function(item), in a worker thread; what it raises is raised here.
        items: any iterable, also an endless one; an item is submitted as soon as it is taken.
        workers: the number of threads; 0 calls function in the caller's thread when asked.
        ahead: how many further items are submitted when a result is handed out; at least 1.

    Closing the generator early waits for the calls that run, and leaves no thread behind.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # and waits for what already runs


class LoaderBase:
    """Settings and state of a loader: which dataset, which batches, which epoch comes next.

    Raises:
        ValueError: where a number is out of its range.
    """

    def __init__(self, dataset, batch_size, *, shuffle=False, drop_last=False, workers=0,
                 prefetch=2, seed=0):
        for name, value, least in [("batch_size", batch_size, 1), ("workers", workers, 0),
                                   ("prefetch", prefetch, 1), ("seed", seed, 0)]:
            if value != int(value) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, "
                                 f"received {value}")
        self.dataset, self.batch_size, self.seed = dataset, int(batch_size), int(seed)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.workers, self.prefetch = int(workers), int(prefetch)
        self.epoch = 0  # of the pass that begins next

    def sample(self, epoch, index):
        """Fetch (x, y) of a sample with its own generator; an error names the sample."""
        try:
            return self.dataset.sample(index, sample_rng(self.seed, epoch, index))
        except NotImplementedError:  # an exercise that is still blank speaks for itself
            raise
        except Exception as error:
            raise RuntimeError(f"{self.dataset.name_of(index)} could not be loaded: "
                               f"{type(error).__name__}: {error}") from error

    def state_dict(self):
        """Return all that the coming batches depend on besides the samples themselves."""
        return {"epoch": self.epoch, "seed": self.seed, "batch_size": self.batch_size,
                "shuffle": self.shuffle, "drop_last": self.drop_last,
                "samples": len(self.dataset)}

    def load_state_dict(self, state):
        """Continue at the epoch and with the seed of a state_dict.

        Raises:
            ValueError: naming each entry that is missing, unknown, or set otherwise here.
        """
        own = self.state_dict()
        wrong = [f"{name} is missing" for name in own if name not in state]
        wrong += [f"{name} is unknown" for name in state if name not in own]
        wrong += [f"{name} is {state[name]} there and {own[name]} here" for name in own
                  if name not in ("epoch", "seed") and state.get(name, own[name]) != own[name]]
        if wrong:
            raise ValueError(f"the state does not fit this loader: {'; '.join(wrong)}: "
                             "build the loader as it was")
        self.epoch, self.seed = int(state["epoch"]), int(state["seed"])


class NyangDataLoader(LoaderBase):
    """Batches of a dataset: for x, y in loader, with x (B, …) and y (B, …), one pass an epoch.

    Args:
        dataset: a NyangDataset.
        batch_size: samples in a batch; the last one may be smaller, unless drop_last.
        shuffle: visit the samples in a new order each epoch.
        workers: threads that load batches in advance; the batches do not depend on it.
        prefetch: how many batches each worker may be ahead.
        seed: with the epoch it decides the order, with the index too the augmentation.
    """

    def __len__(self):
        """Return the number of batches of an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + int(rest > 0 and not self.drop_last)

    def load(self, epoch, indices):
        """Fetch the samples of one batch and stack them: x (B, …), y (B, …)."""
        x, y = zip(*[self.sample(epoch, int(index)) for index in indices])
        return np.stack(x), np.stack(y)

    def __iter__(self):
        """Yield (x, y) batch after batch; the pass counts as an epoch once it has begun."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)
        batches = [order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]
        ahead = self.prefetch * max(self.workers, 1)
        yield from prefetch_map(partial(self.load, epoch), batches, self.workers, ahead)
