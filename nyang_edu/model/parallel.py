# Exported from chapter 16. Change the notebook, then export again.
"""Branches side by side: the container of inception blocks, and of heads that only train."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise


class Parallel(NyangModel):
    """Run branches on the same x and join their outputs: out = [b_0(x), b_1(x), …] along axis.

    Shapes: x, any → out, the branches' shape, with their sizes added up along axis.
    parallel[k] is a branch, len(parallel) their number.

    Raises:
        ValueError: without branches; in forward, where the outputs differ in another axis.
        TypeError: where a branch is not a NyangModel.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 4.
    """

    def __init__(self, *branches, axis=1):
        if not branches:
            raise ValueError("Parallel needs at least one branch, received none")
        for place, branch in enumerate(branches):
            if not isinstance(branch, NyangModel):
                raise TypeError(f"Parallel takes layers, received {type(branch).__name__} as "
                                f"branch {place}: a branch that does nothing is NyangFlow()")
        self.branches, self.axis = list(branches), axis

    def __len__(self):
        return len(self.branches)

    def __getitem__(self, place):
        return self.branches[place]

    def named_children(self):
        """Yield (name, branch) with the names "0", "1", …"""
        for place, branch in enumerate(self.branches):
            yield str(place), branch

    def active(self):
        """List the branches that run: here all of them."""
        return self.branches

    def expect_joinable(self, outs):
        """Raise a ValueError that names the first branch whose output does not fit."""
        def others(shape):
            return [n for axis, n in enumerate(shape) if axis != self.axis % len(shape)]

        for place, out in enumerate(outs):
            if out.ndim != outs[0].ndim or others(out.shape) != others(outs[0].shape):
                raise ValueError(
                    f"Parallel joins along axis {self.axis}, all other sizes must be equal: branch "
                    f"{place} returned {out.shape}, branch 0 {outs[0].shape}; mind padding, stride")

    def forward(self, x):
        """Return the outputs of all active branches, joined along axis."""
        branches = list(self.active())
        outs = [branch.forward(x) for branch in branches]
        self.expect_joinable(outs)
        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=self.axis)

    def backward(self, dout):
        """Return dx, the sum of what the branches send back, each for its own part of dout."""
        branches, widths = self.saved()
        parts = np.split(dout, np.cumsum(widths)[:-1], axis=self.axis)
        shares = [branch.backward(part) for branch, part in zip(branches[::-1], parts[::-1])]
        dx = shares[0]
        for share in shares[1:]:
            dx = elementwise(np.add, dx, share)  # not +=, a branch may hand on what it received
        return dx


class Auxiliary(Parallel):
    """In training, run heads beside a trunk, rows joined; in eval mode, the trunk alone.

    Shapes: x, any → out (N · number of branches, …) in training, the trunk's rows first;
    (N, …) in eval mode.

    Raises:
        ValueError: in forward, where the outputs differ in more than their rows.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 5.
    """

    def __init__(self, trunk, *heads):
        super().__init__(trunk, *heads, axis=0)

    def active(self):
        """List the branches that run: all in training, the trunk in eval mode."""
        return self.branches if self.training else self.branches[:1]
