"""Schedulers: PyTorch's rates, groups, previews that leave no trace, and resuming."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

from nyang_edu.model.core import Parameter
from nyang_edu.training.adaptive import AdaBound
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.scheduler import (
    CosineDecay,
    ExponentialDecay,
    ReduceLROnPlateau,
    Scheduler,
    StepDecay,
    WarmUp,
)

LR, STEPS = 0.4, 40


def sgd(lr=LR):
    return SGD([Parameter(np.ones(2))], lr)


def grouped():
    return SGD([{"parameters": [Parameter(np.ones(2))]},
                {"parameters": [Parameter(np.ones(3))], "lr": LR / 8}], LR)


def torch_sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], LR)


def lrs(optimizer):
    return [group["lr"] for group in optimizer.groups]


def rates(scheduler, count=STEPS):
    found = []
    for _ in range(count):
        found.append(scheduler.get_lr())
        scheduler.step()
    return np.array(found)


def torch_rates(optimizer, scheduler, count=STEPS):
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def chained(optimizer, warm=6):
    first = theirs.LinearLR(optimizer, 0.25, 1.0, warm)
    second = theirs.CosineAnnealingLR(optimizer, STEPS - warm, 0.01)
    return theirs.SequentialLR(optimizer, [first, second], [warm])


PAIRS = {
    "step": (lambda o: StepDecay(o, 7, 0.3), lambda o: theirs.StepLR(o, 7, 0.3)),
    "exponential": (lambda o: ExponentialDecay(o, 0.93),
                    lambda o: theirs.ExponentialLR(o, 0.93)),
    "cosine": (lambda o: CosineDecay(o, STEPS, 0.02),
               lambda o: theirs.LambdaLR(o, lambda t: 0.05 + 0.95 * (
                   1 + math.cos(math.pi * t / STEPS)) / 2)),
    "cosine, theirs": (lambda o: CosineDecay(o, STEPS, 0.02),
                       lambda o: theirs.CosineAnnealingLR(o, STEPS, 0.02)),
    "warm-up": (lambda o: WarmUp(o, 9, start_factor=0.2),
                lambda o: theirs.LinearLR(o, 0.2, 1.0, 9)),
    "chain": (lambda o: WarmUp(o, 6, CosineDecay(o, STEPS - 6, 0.01), start_factor=0.25),
              chained),
}
MAKERS = {
    "step": lambda o: StepDecay(o, 3, 0.5),
    "exponential": lambda o: ExponentialDecay(o, 0.8),
    "cosine": lambda o: CosineDecay(o, 12, 0.01),
    "warm-up": lambda o: WarmUp(o, 5),
    "chain": lambda o: WarmUp(o, 4, StepDecay(o, 3, 0.5, every="step")),
    "double chain": lambda o: WarmUp(o, 4, WarmUp(o, 3, CosineDecay(o, 6), start_factor=0.5)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PAIRS)
def test_rates_are_those_of_pytorch(name):
    ours, other = PAIRS[name]
    optimizer = torch_sgd()
    wanted = torch_rates(optimizer, other(optimizer))
    np.testing.assert_allclose(rates(ours(sgd())), wanted, 1e-10)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 1, 4])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.1])
def test_plateau_is_that_of_pytorch(mode, patience, threshold):
    rng = np.random.default_rng(3)
    for _ in range(20):
        metrics = rng.uniform(0.2, 1, 60) * np.linspace(*rng.uniform(0.3, 2, 2), 60)
        metrics[rng.random(60) < 0.1] = np.nan
        optimizer, other = sgd(), torch_sgd()
        ours = ReduceLROnPlateau(optimizer, 0.5, patience, 0.01, threshold, mode)
        reference = theirs.ReduceLROnPlateau(other, mode, 0.5, patience, threshold, min_lr=0.01)
        for metric in metrics:
            ours.step(metric)
            reference.step(metric)
            assert ours.get_lr() == pytest.approx(other.param_groups[0]["lr"], rel=1e-12)


@pytest.mark.parametrize("name", MAKERS)
class TestContract:
    """What holds for every schedule that is a function of time."""

    def test_a_preview_is_what_runs_and_leaves_no_trace(self, name):
        optimizer = grouped()
        drawn, plain = MAKERS[name](optimizer), MAKERS[name](sgd())
        before, state = lrs(optimizer), drawn.state_dict()
        picture = drawn.preview(20)
        assert lrs(optimizer) == before and drawn.state_dict() == state
        for _ in range(5):
            drawn.step()
        assert np.array_equal(drawn.preview(20), picture) and picture.shape == (20,)
        assert np.array_equal(rates(plain, 20), picture)
        assert np.array_equal(rates(drawn, 15), picture[5:])

    def test_every_group_is_scaled_by_the_same_factor(self, name):
        optimizer = grouped()
        scheduler = MAKERS[name](optimizer)
        for t in range(15):
            height = scheduler.factor(t)
            assert lrs(optimizer) == pytest.approx([LR * height, LR / 8 * height])
            assert scheduler.get_lr() == optimizer.lr
            scheduler.step()

    @pytest.mark.parametrize("optimizer_first", [True, False])
    def test_resuming_continues_bit_for_bit(self, name, optimizer_first):
        optimizer = grouped()
        scheduler = MAKERS[name](optimizer)
        for _ in range(6):
            scheduler.step()
        saved = json.loads(json.dumps(scheduler.state_dict()))  # plain containers only
        weights = optimizer.state_dict()
        again = grouped()
        if optimizer_first:
            again.load_state_dict(weights)
            resumed = MAKERS[name](again) if name != "cosine" else CosineDecay(again, 12)
        else:
            resumed = MAKERS[name](again)
            again.load_state_dict(weights)
        resumed.load_state_dict(saved)
        assert lrs(again) == lrs(optimizer)
        assert np.array_equal(rates(resumed, 10), rates(scheduler, 10))
        assert lrs(again) == lrs(optimizer)

    def test_a_state_that_does_not_fit_changes_nothing(self, name):
        scheduler = MAKERS[name](sgd())
        state = scheduler.state_dict()
        wrong = state | {"momentum": 0.9}
        wrong.pop("t")
        with pytest.raises(ValueError, match="missing t; unexpected momentum"):
            scheduler.load_state_dict(wrong)
        assert scheduler.state_dict() == state

    def test_the_optimizers_weights_and_memories_stay(self, name):
        optimizer = SGD([Parameter(np.ones(3))], LR, momentum=0.9)
        scheduler = MAKERS[name](optimizer)
        scheduler.step()
        assert np.array_equal(optimizer.parameters[0].data, np.ones(3))
        assert np.array_equal(optimizer.velocities[0], np.zeros(3))


def test_resuming_a_plateau_continues_its_count():
    metrics = [1.0, 0.9, 0.95, 0.93, 0.94, 0.92, 0.91, 0.91, 0.8, 0.85, 0.85, 0.85]
    whole = ReduceLROnPlateau(sgd(), 0.5, patience=2)
    wanted = [(whole.step(m), whole.get_lr())[1] for m in metrics]
    for stop in range(len(metrics)):
        first = ReduceLROnPlateau(sgd(), 0.5, patience=2)
        found = [(first.step(m), first.get_lr())[1] for m in metrics[:stop]]
        second = ReduceLROnPlateau(sgd(), 0.5, patience=2)
        second.load_state_dict(first.state_dict())
        found += [(second.step(m), second.get_lr())[1] for m in metrics[stop:]]
        assert found == wanted


def test_the_schedule_after_a_warmup_is_in_its_state():
    optimizer = sgd()
    chain = WarmUp(optimizer, 2, StepDecay(optimizer, 3))
    assert chain.state_dict()["after"]["step_size"] == 3
    other = sgd()
    with pytest.raises(ValueError, match="unexpected after"):
        WarmUp(other, 2).load_state_dict(chain.state_dict())
    with pytest.raises(ValueError, match="unexpected after"):
        chain.load_state_dict(WarmUp(other, 2).state_dict())


def test_a_new_lr_takes_effect_in_adabound():
    """Its final rate follows the schedule in proportion."""
    one, two = Parameter(np.ones(2)), Parameter(np.ones(2))
    for held, gamma in ((one, 1.0), (two, 0.5)):
        optimizer = AdaBound([held], final_lr=0.1, gamma=1e9)
        scheduler = ExponentialDecay(optimizer, gamma)
        held.grad[...] = 1.0
        optimizer.step()
        before = held.data.copy()
        optimizer.means[0][...], optimizer.squares[0][...] = 1.0, 1.0
        scheduler.step()
        optimizer.step()
        held.grad[...] = before - held.data
    assert two.grad == pytest.approx(one.grad / 2, rel=1e-6)


def test_every_is_kept_and_taken_over_by_a_warmup():
    optimizer = sgd()
    assert Scheduler.needs_metric is False and ReduceLROnPlateau.needs_metric is True
    assert ExponentialDecay(optimizer, 0.9).every == "epoch"
    assert WarmUp(optimizer, 3, CosineDecay(optimizer, 5, every="step")).every == "step"
    assert WarmUp(optimizer, 3).every == "epoch"
    assert WarmUp(optimizer, 3, every="step").every == "step"


@given(st.integers(1, 50), st.integers(1, 200), st.floats(0.01, 1))
def test_a_warm_cosine_stays_between_0_and_1_and_ends_low(warm, total, start):
    optimizer = sgd()
    chain = WarmUp(optimizer, warm, CosineDecay(optimizer, total), start_factor=start)
    picture = chain.preview(warm + total + 5) / LR
    assert picture.min() >= 0 and picture.max() <= 1 + 1e-12
    assert np.all(np.diff(picture[:warm + 1]) >= -1e-12)
    assert np.all(np.diff(picture[warm:]) <= 1e-12) and np.allclose(picture[warm + total:], 0)


def late_chain():
    optimizer = sgd()
    return WarmUp(optimizer, 3, CosineDecay(optimizer, 5), every="step")


def metric_chain():
    optimizer = sgd()
    return WarmUp(optimizer, 3, ReduceLROnPlateau(optimizer))


BAD = [
    (lambda: StepDecay(sgd(), 0), ValueError, "step_size must be above 0"),
    (lambda: ExponentialDecay(sgd(), -0.5), ValueError, "gamma must be above 0"),
    (lambda: CosineDecay(sgd(), 0), ValueError, "total_steps must be above 0"),
    (lambda: CosineDecay(sgd(), 5, 1.0), ValueError, "min_lr must be from 0 to the first lr, 0.4"),
    (lambda: WarmUp(sgd(), 0), ValueError, "warmup_steps must be above 0"),
    (lambda: WarmUp(sgd(), 5, start_factor=2), ValueError, "start_factor must be at most 1"),
    (lambda: WarmUp(sgd(), 5, StepDecay(sgd(), 2)), ValueError, "the same optimizer"),
    (late_chain, ValueError, 'after has every="epoch", received \'step\''),
    (metric_chain, TypeError, "ReduceLROnPlateau needs a metric and cannot follow"),
    (lambda: ExponentialDecay(sgd(), 0.9, every="batch"), ValueError, "received 'batch'"),
    (lambda: ExponentialDecay([1], 0.9), TypeError, "takes an optimizer.*received list"),
    (lambda: Scheduler(sgd()), TypeError, "Scheduler does not define factor"),
    (lambda: ReduceLROnPlateau(sgd(), 1.0), ValueError, "factor must be above 0 and below 1"),
    (lambda: ReduceLROnPlateau(sgd(), patience=-1), ValueError, "patience must be at least 0"),
    (lambda: ReduceLROnPlateau(sgd(), mode="best"), ValueError, 'mode is "min" for a loss'),
    (lambda: ReduceLROnPlateau(sgd(), min_lr=1.0), ValueError, "min_lr must be from 0"),
    (lambda: ReduceLROnPlateau(sgd()).step(), TypeError, "takes the metric of the epoch"),
    (lambda: ReduceLROnPlateau(sgd()).preview(3), TypeError, "has no preview"),
]


@pytest.mark.parametrize(("make", "kind", "words"), BAD)
def test_a_wrong_setting_is_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()
