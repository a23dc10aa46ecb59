# Exported from chapter 12. Change the notebook, then export again.
"""Schedules: how learning rates change while a network learns.

A schedule is a pure function of time; a scheduler applies it to the groups of an optimizer.
"""

import copy
import math

import numpy as np


class Scheduler:
    """Set each group's lr to its first lr times factor(t); a subclass defines factor.

    t is 0 at first and grows by one in step. every says when a training loop has to call step,
    at the end of each "epoch" or of each "step"; needs_metric whether step takes a number.
    A subclass stores its settings before super().__init__, which already asks for factor(0).

    Raises:
        ValueError: where every is something else.
        TypeError: where the optimizer has no groups.
    """

    needs_metric = False

    def __init__(self, optimizer, every="epoch"):
        if every not in ("epoch", "step"):
            raise ValueError(f'every is "epoch" or "step", received {every!r}')
        if not hasattr(optimizer, "groups"):
            raise TypeError("a scheduler takes an optimizer, such as SGD(model.parameters(), "
                            f"lr=0.1), received {type(optimizer).__name__}")
        self.optimizer, self.every, self.t = optimizer, every, 0
        self.base_lrs = [group["lr"] for group in optimizer.groups]
        self.apply()

    def factor(self, t):
        """Return what the first lr is multiplied by at time t; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define factor")

    def apply(self):
        """Set the lr of every group for the current t."""
        for group, base in zip(self.optimizer.groups, self.base_lrs, strict=True):
            group["lr"] = base * self.factor(self.t)

    def step(self):
        """Move on by one, and set the lrs."""
        self.t += 1
        self.apply()

    def get_lr(self):
        """Return the first group's lr as it stands."""
        return self.optimizer.groups[0]["lr"]

    def preview(self, count):
        """Return the first group's lr at t = 0 … count − 1, shape (count,); nothing changes."""
        return np.array([self.base_lrs[0] * self.factor(t) for t in range(count)])

    def state_dict(self):
        """Copy all that a resumed run needs, in plain containers."""
        return {name: value.state_dict() if isinstance(value, Scheduler) else copy.deepcopy(value)
                for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state):
        """Take over what state_dict returned, and set the lrs.

        Raises:
            ValueError: with every missing or unexpected entry; then nothing changes.
        """
        own = self.state_dict()
        wrong = [f"missing {name}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own
                  or isinstance(state[name], dict) != isinstance(own[name], dict)]
        if wrong:
            raise ValueError(f"{type(self).__name__}: the state does not fit: {'; '.join(wrong)}")
        for name, value in sorted(state.items(), key=lambda entry: not isinstance(entry[1], dict)):
            if isinstance(value, dict):  # that of the scheduler after a warm-up; it may refuse
                getattr(self, name).load_state_dict(value)
            else:
                setattr(self, name, copy.deepcopy(value))
        self.apply()


def _above(low, **settings):
    """Raise where a setting is not above low."""
    for name, value in settings.items():
        if not low < value < math.inf:
            raise ValueError(f"{name} must be above {low} and finite, received {value}")


def _expect_floor(min_lr, optimizer):
    """Raise where min_lr is not from 0 to the first group's lr."""
    first = optimizer.groups[0]["lr"]
    if not 0 <= min_lr <= first:
        raise ValueError(f"min_lr must be from 0 to the first lr, {first}, received {min_lr}")


class ExponentialDecay(Scheduler):
    """Multiply the lr by gamma at every step: f(t) = gammaᵗ.

    Raises:
        ValueError: where gamma is not above 0.
    """

    def __init__(self, optimizer, gamma, every="epoch"):
        _above(0, gamma=gamma)
        self.gamma = float(gamma)
        super().__init__(optimizer, every)

    def factor(self, t):
        """Return gammaᵗ."""
        return self.gamma**t


class StepDecay(Scheduler):
    """Multiply the lr by gamma after every step_size steps: f(t) = gamma^⌊t / step_size⌋.

    Raises:
        ValueError: where step_size or gamma is not above 0.

    Source: He, Zhang, Ren, Sun (2016), section 3.4, divide the lr by 10 on plateaus.
    """

    def __init__(self, optimizer, step_size, gamma=0.1, every="epoch"):
        _above(0, step_size=step_size, gamma=gamma)
        self.step_size, self.gamma = step_size, float(gamma)
        super().__init__(optimizer, every)

    def factor(self, t):
        """Return gamma to the power of the decays so far."""
        return self.gamma ** (t // self.step_size)


class CosineDecay(Scheduler):
    """Glide from the first lr to min_lr along half a cosine wave, and stay there.

    f(t) = floor + (1 − floor) · (1 + cos(π · t / total_steps)) / 2, floor = min_lr / first lr of
    the first group. All groups get the same factor.

    Raises:
        ValueError: where total_steps is not above 0, or min_lr not in 0 ≤ min_lr ≤ first lr.

    Source: Loshchilov and Hutter (2017), section 3, without restarts.
    """

    def __init__(self, optimizer, total_steps, min_lr=0.0, every="epoch"):
        _above(0, total_steps=total_steps)
        _expect_floor(min_lr, optimizer)
        self.total_steps, self.min_lr = total_steps, float(min_lr)
        super().__init__(optimizer, every)

    def factor(self, t):
        """Return the height of the wave at t."""
        floor = self.min_lr / self.base_lrs[0]
        share = min(t / self.total_steps, 1.0)
        return floor + (1 - floor) * (1 + math.cos(math.pi * share)) / 2


class WarmUp(Scheduler):
    """Raise the lr in a straight line from start_factor to 1, then follow another scheduler.

    f(t) = start_factor + (1 − start_factor) · t / warmup_steps while t < warmup_steps, then
    after.factor(t − warmup_steps), or 1 where nothing comes after. every is that of after.

    Raises:
        ValueError: where warmup_steps is not above 0, start_factor not in 0 < start_factor ≤ 1,
            or after belongs to another optimizer or is called at other times.
        TypeError: where after needs a metric.

    Source: Goyal et al. (2017), section 2.2.
    """

    def __init__(self, optimizer, warmup_steps, after=None, start_factor=0.1, every=None):
        _above(0, warmup_steps=warmup_steps, start_factor=start_factor)
        if start_factor > 1:
            raise ValueError(f"start_factor must be at most 1, received {start_factor}: try 0.1")
        if after is not None:
            _fits_after(after, optimizer, every)
            every = after.every
            for group, base in zip(optimizer.groups, after.base_lrs, strict=True):
                group["lr"] = base  # after has set its own first rates already
        self.warmup_steps, self.after = warmup_steps, after
        self.start_factor = float(start_factor)
        super().__init__(optimizer, every or "epoch")

    def factor(self, t):
        """Return the height of the line at t, or that of the schedule after it."""
        if t < self.warmup_steps:
            return self.start_factor + (1 - self.start_factor) * t / self.warmup_steps
        return 1.0 if self.after is None else self.after.factor(t - self.warmup_steps)


def _fits_after(after, optimizer, every):
    """Raise where a scheduler cannot follow a warm-up."""
    if after.needs_metric:
        raise TypeError(f"{type(after).__name__} needs a metric and cannot follow a warm-up: "
                        "use StepDecay, ExponentialDecay or CosineDecay")
    if after.optimizer is not optimizer or every not in (None, after.every):
        raise ValueError("a warm-up and the scheduler after it need the same optimizer and the "
                         f'same every; after has every="{after.every}", received {every!r}')


class ReduceLROnPlateau(Scheduler):
    """Multiply the lr by factor when a metric has not improved for more than patience steps.

    mode "min": better is below best · (1 − threshold); "max": above best · (1 + threshold).
    The first group's lr does not fall below min_lr; all groups get the same factor.

    Raises:
        ValueError: where factor is not in 0 < factor < 1, patience is below 0, threshold not
            in 0 ≤ threshold < 1, min_lr not in 0 ≤ min_lr ≤ first lr, or mode is unknown.
        TypeError: where step gets no metric, or a preview is asked for.
    """

    needs_metric = True

    def __init__(self, optimizer, factor=0.1, patience=10, min_lr=0.0, threshold=1e-4,
                 mode="min", every="epoch"):
        _expect_plateau(factor, patience, threshold, mode)
        _expect_floor(min_lr, optimizer)
        self.shrink, self.patience, self.min_lr = float(factor), patience, float(min_lr)
        self.threshold, self.mode = float(threshold), mode
        self.scale, self.bad = 1.0, 0
        self.best = math.inf if mode == "min" else -math.inf
        super().__init__(optimizer, every)

    def factor(self, t):
        """Return the factor as it stands, whatever t is."""
        return self.scale

    def preview(self, count):
        """Raise TypeError: nobody knows the metrics yet."""
        raise TypeError("ReduceLROnPlateau depends on metrics and has no preview: "
                        "note get_lr() after each step")

    def better(self, metric):
        """Return whether a metric is better than the best one, by more than the threshold."""
        if self.mode == "min":
            return metric < self.best * (1 - self.threshold)
        return metric > self.best * (1 + self.threshold)

    def step(self, metric=None):
        """Judge a metric, lower the scale on a plateau; then move on as any scheduler does."""
        if metric is None:
            raise TypeError("ReduceLROnPlateau.step takes the metric of the epoch, such as the "
                            "validation loss: step(loss)")
        floor, metric = self.min_lr / self.base_lrs[0], float(metric)
        if self.better(metric):
            self.best, self.bad = metric, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            self.scale, self.bad = max(self.scale * self.shrink, floor), 0
        super().step()  # t grows by one, and the lrs are set


def _expect_plateau(factor, patience, threshold, mode):
    """Raise where a setting of ReduceLROnPlateau is out of its range."""
    if not 0 < factor < 1:
        raise ValueError(f"factor must be above 0 and below 1, received {factor}: try 0.1")
    if patience < 0 or not 0 <= threshold < 1:
        raise ValueError("patience must be at least 0 and threshold in 0 ≤ threshold < 1, "
                         f"received {patience} and {threshold}")
    if mode not in ("min", "max"):
        raise ValueError(f'mode is "min" for a loss or "max" for an accuracy, received {mode!r}')
