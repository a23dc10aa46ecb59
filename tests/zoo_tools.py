"""Shared by the tests of the architectures: counts, gradients, over-fitting, PyTorch's states."""

import numpy as np
import pytest

from nyang_edu import SGD, CrossEntropyLoss, no_memory
from nyang_edu.utility.hollow import Hollow


def seeded(seed=0):
    return np.random.default_rng(seed)


def torchvision_models():
    """Import torchvision's models, or None: it may be missing, or not fit the torch at hand."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError):
        return None
    return models


def size(model):
    return sum(one.data.size for one in model.parameters())


def compare_counts(published, *modules):
    """Print a table {name: parameters} and assert it of ours, and of torchvision's if there."""
    models = torchvision_models()
    print("\nmodel              here    torchvision" + ("" if models else " (as published)"))
    for name, count in published.items():
        theirs = count
        if models:
            import torch
            with torch.device("meta"):
                theirs = sum(p.numel() for p in getattr(models, name)().parameters())
        build = next(getattr(one, name) for one in modules if hasattr(one, name))
        here = size(build(rng=Hollow()))
        print(f"{name:12s} {here:12,d}  {theirs:12,d}")
        assert here == theirs == count


def without_gradient(model, shape):
    """List the parameters that a random gradient does not reach; the input must be reached."""
    rng = seeded(1)
    out = model(rng.normal(size=shape).astype(np.float32))
    dx = model.backward(rng.normal(size=out.shape).astype(np.float32))
    assert dx.shape == shape and dx.any()
    return [name for name, one in model.named_parameters() if not one.grad.any()]


def over_fitted(model, shape, classes, lr, steps):
    """Learn eight random samples by heart; return the last loss, inf where one is not learned."""
    x, labels = seeded(2).normal(size=(8, *shape)).astype(np.float32), np.arange(8) % classes
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model(x), labels)
        model.backward(loss.backward())
        optimizer.step()
    return value if (model(x).argmax(1) == labels).all() else np.inf


def worth_comparing(theirs):
    """Give a PyTorch model running statistics that are not 0 and 1; return it in eval mode."""
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        for name, array in theirs.state_dict().items():
            if "running_var" in name:
                array.uniform_(0.5, 1.5)
            elif "running_mean" in name:
                array.normal_(0, 0.1)
    return theirs.eval()


def compare_states(ours, theirs, names, shape):
    """Load PyTorch's state here and ours there; the logits must be equal to 1e-4 each way."""
    torch = pytest.importorskip("torch")
    state = theirs.state_dict()
    assert sorted(names.values()) == sorted(state)
    ours.eval().load_state_dict({own: state[name].numpy() for own, name in names.items()})
    x = seeded(3).normal(size=shape).astype(np.float32)
    with no_memory(), torch.no_grad():
        wanted = theirs(torch.tensor(x)).numpy()
        error = np.abs(ours(x) - wanted).max() / max(1, np.abs(wanted).max())
        print(f"logits up to {np.abs(wanted).max():.2g}, error {error:.1e}")
        assert error <= 1e-4
        theirs.load_state_dict({name: torch.zeros_like(array) for name, array in state.items()})
        theirs.load_state_dict({names[own]: torch.tensor(array)
                                for own, array in ours.state_dict().items()})
        np.testing.assert_array_equal(theirs(torch.tensor(x)).numpy(), wanted)
