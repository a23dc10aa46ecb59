# Exported from chapter 19. Change the notebook, then export again.
"""Ways around a body: its input beside its output, and outputs from inside it for the loss."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise


class SkipConcat(NyangModel):
    """Keep the input beside what a body makes of it: out = [x, body(x)] along the channels.

    Nested around pooling, more levels and upsampling it is a U-Net.
    Shapes: x (N, C, …), body(x) (N, D, …) → out (N, C + D, …).

    Raises:
        ValueError: in forward, where body(x) has another size than x.

    Source: Ronneberger, Fischer, Brox, U-Net (2015), section 2.
    """

    def __init__(self, body):
        self.body = body

    def forward(self, x):
        """Return x and body(x), joined along the channels."""
        deep = self.body.forward(x)
        if deep.shape[:1] + deep.shape[2:] != x.shape[:1] + x.shape[2:]:
            raise ValueError(f"SkipConcat joins maps of one size, received {x.shape} and, from the "
                             f"body, {deep.shape}: pad x until every pooling divides its size")
        self.save(x.shape[1])
        return np.concatenate([x, deep], axis=1)

    def backward(self, dout):
        """Return dx: what went straight, plus what went through the body."""
        C = self.saved()
        return elementwise(np.add, self.body.backward(dout[:, C:]), dout[:, :C])


class SideHead(NyangModel):
    """Pass x on, and in training leave head(x) beside the way, for a SideOutputs around it.

    Shapes: x, any → out = x.

    Raises:
        RuntimeError: by backward, where no SideOutputs has brought the gradient of head(x).

    Source: Lee et al., Deeply-Supervised Nets (2015), section 2.
    """

    sent, returned = None, None  # head(x) on its way out, its gradient on its way back

    def __init__(self, head):
        self.head = head

    def forward(self, x):
        """Return x."""
        self.save(self.training)
        if self.training:
            self.sent = self.head.forward(x)
        return x

    def backward(self, dout):
        """Return dx: dout, plus what comes back through the head."""
        if not self.saved():
            return dout.copy()
        returned, self.returned = self.returned, None
        if returned is None:
            raise RuntimeError("SideHead.backward needs the gradient of its own output: put "
                               "SideOutputs around the whole model")
        return elementwise(np.add, self.head.backward(returned), dout)


class SideOutputs(NyangModel):
    """Return a body's output, and in training those of its SideHeads: [out, latest, …, first].

    Shapes: x → a list of arrays, and a list of gradients back; in eval one array, as the body.

    Raises:
        ValueError: by backward, where the number of gradients is not that of the outputs.
    """

    def __init__(self, body):
        self.body = body

    def heads(self):
        """List the SideHeads, the latest in forward first."""
        return [one for _, one in self.body.named_layers() if isinstance(one, SideHead)][::-1]

    def forward(self, x):
        """Return the body's output, in training a list with the heads' outputs behind it."""
        self.save(self.training)
        out = self.body.forward(x)
        if not self.training:
            return out
        outs = [out]
        for head in self.heads():
            outs.append(head.sent)
            head.sent = None
        return outs

    def backward(self, dout):
        """Return dx for the gradients that forward's result calls for, one array or a list."""
        if self.saved():
            dout, *returned = dout
            for head, one in zip(self.heads(), returned, strict=True):
                head.returned = one
        return self.body.backward(dout)
