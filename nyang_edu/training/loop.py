# Exported from chapter 13. Change the notebook, then export again.
"""The parts of a training loop: train, validate, stop in time, find what broke, keep the state."""

import contextlib

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.core import Parameter, no_memory
from nyang_edu.model.watch import modes_kept, watch_layers
from nyang_edu.training.adaptive import clip_grad_norm
from nyang_edu.utility.save_load import load_random_state, random_state


class NotFinite(FloatingPointError):
    """A loss that is NaN or infinite: its value, and the step, counted from 1."""

    def __init__(self, step, value):
        super().__init__(f"the loss of step {step} is {value}; the optimizer did not move: "
                         "first_bad_layer says where it came from")
        self.step, self.value = step, value


@contextlib.contextmanager
def kept(model):
    """Give a model its modes, buffers and random states back when the block ends."""
    buffers = [(layer, name, getattr(layer, name).copy())
               for _, layer, name in model.named_buffers()]
    drawn = random_state(model)
    try:
        with modes_kept(model):
            yield model
    finally:
        for layer, name, array in buffers:
            getattr(layer, name)[...] = array
        load_random_state(model, drawn)


def train_batches(model, loss, optimizer, batches, *, clip_norm=None, after_step=None):
    """Train once on each batch; return the mean loss per sample, Σ B·L / Σ B.

    Args:
        model: a NyangModel, put into training mode; loss: a Loss, the mean over a batch;
            optimizer: holds the model's parameters.
        batches: an iterable of (x, y), each (B, …), of any length.
        clip_norm: the largest norm of all gradients together; None clips nothing.
        after_step: called with the batch's loss once the optimizer has moved.

    Raises:
        NotFinite: for a loss that is NaN or infinite, before the optimizer moves.
        ValueError: where there are no batches.
    """
    model.train()
    total, count = 0.0, 0
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.zero_grad()
        value = loss(model(x), y)
        if not np.isfinite(value):
            raise NotFinite(step, value)
        model.backward(loss.backward())
        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters, clip_norm)
        optimizer.step()
        if after_step is not None:
            after_step(value)
        total, count = total + value * len(x), count + len(x)
    if count == 0:
        raise ValueError("train_batches received no batches: is the loader empty, or used up?")
    return total / count


def validate(model, loss, batches):
    """Judge a model in eval mode; it is left as it was, also after an error.

    Args:
        model: a NyangModel, in any mode.
        loss: a Loss, the mean over a batch.
        batches: an iterable of (x, y), each (B, …), of any length.

    Returns:
        the mean loss per sample; the outputs (N, …); the targets (N, …).

    Raises:
        ValueError: where there are no batches.
    """
    total, outputs, targets = 0.0, [], []
    with kept(model), no_memory():
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
            outputs.append(out)
            targets.append(y)
    if not outputs:
        raise ValueError("validate received no batches: is the loader empty, or used up?")
    outputs, targets = np.concatenate(outputs), np.concatenate(targets)
    return total / len(outputs), outputs, targets


class EarlyStopping:
    """Stop training after `patience` epochs in a row without an improvement.

    improved: loss < best - min_delta. Attributes: best, the lowest loss that improved; waited, the
    epochs since; stop. A patience of None never stops; NaN never improves.

    Raises:
        ValueError: where patience is below 1, or min_delta below 0.

    Source: Prechelt, Early stopping – but when? (1998).
    """

    def __init__(self, patience, min_delta=0.0):
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1, or None, received {patience}: try 5")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be at least 0, received {min_delta}: try 0")
        self.patience, self.min_delta = patience, float(min_delta)
        self.best, self.waited = float("inf"), 0

    def update(self, loss):
        """Take one epoch's loss; return True where it improved."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = float(loss), 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self):
        """True once there have been `patience` epochs without an improvement."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self):
        """Return best and waited as plain numbers."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        """Take over what state_dict returned."""
        self.best, self.waited = float(state["best"]), int(state["waited"])


@contextlib.contextmanager
def listening(model, hear):
    """Call hear(name, arrays) in a forward pass: a layer's own parameters, then its outputs.

    Names are those of named_layers, in the order of execution; a shared layer has its first name.
    """
    def begin(name, layer, inputs):
        hear(name, [one.data for _, one in layer.named_children() if isinstance(one, Parameter)])

    def end(name, layer, inputs, out):
        hear(name, out if isinstance(out, (tuple, list)) else [out])

    with watch_layers(model, end, begin, containers=True), np.errstate(all="ignore"):
        yield


def first_bad_layer(model, x):
    """Name the layer in which a forward pass first meets NaN or infinity; None where it is sound.

    Parameters count as soon as their layer begins, outputs as soon as it ends. The model runs in
    the mode that it is in, and is left as it was: memory, modes, buffers, random states.

    Args:
        model: a NyangModel.
        x: the input of the pass; where it is not finite itself, the answer is "input".

    Returns:
        a dotted name as in named_layers ("" for the model itself), "input", or None.
    """
    found = [] if np.isfinite(x).all() else ["input"]

    def hear(name, arrays):
        if not all(np.isfinite(one).all() for one in arrays):
            found.append(name)

    with kept(model), no_memory(), listening(model, hear):
        model.forward(x)
    return found[0] if found else None


def training_state(model, optimizer, scheduler=None, loader=None, stopping=None):
    """Copy all that the next epoch depends on into plain containers and arrays.

    Returns:
        dict with the state_dict of each part under the name of its argument, "model",
        "optimizer", "scheduler", "loader", "stopping", and random_state(model) under
        "random". A part that is None or has no state_dict is left out.
    """
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler,
             "loader": loader, "stopping": stopping}
    state = {name: part.state_dict() for name, part in parts.items()
             if hasattr(part, "state_dict")}
    return state | {"random": random_state(model)}


def restore_training_state(state, model, optimizer, scheduler=None, loader=None, stopping=None):
    """Bring the parts back to where training_state found them; nothing changes unless all fit.

    Raises:
        ValueError: where a part of the state is not given, a given one is not in the state,
            or one does not fit.
    """
    given = {"model": model, "optimizer": optimizer, "scheduler": scheduler,
             "loader": loader, "stopping": stopping}
    parts = {name: one for name, one in given.items() if hasattr(one, "load_state_dict")}
    if wrong := sorted(set(state) ^ {*parts, "random"}):
        raise ValueError(f"the state holds {', '.join(sorted(state))}; {', '.join(wrong)} is on "
                         "one side only: pass the same parts as to training_state")
    before = {name: one.state_dict() for name, one in parts.items()}
    try:
        for name, one in parts.items():
            one.load_state_dict(state[name])
        load_random_state(model, state["random"])
    except Exception:
        for name, one in parts.items():
            one.load_state_dict(before[name])
        raise
