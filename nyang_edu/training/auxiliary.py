# Exported from chapter 16. Change the notebook, then export again.
"""The loss of a network with several heads: the main one counts in full, the others a little."""

import numpy as np

from nyang_edu.training.loss import Loss


class AuxiliaryLoss(Loss):
    """Add up the losses of several heads: L = L_0 + weight · (L_1 + L_2 + …).

    Shapes: pred (H·N, …), the rows of head 0 first; target (N, …) → float; dpred as pred.
    With H = 1, as from a model in eval mode, it is the inner loss.

    Args:
        loss: the Loss of each head; weight: of every head but the first.

    Raises:
        ValueError: where pred has not a multiple of target's rows.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 5.
    """

    def __init__(self, loss, weight=0.3):
        self.loss, self.weight = loss, weight

    def forget(self):
        """Drop what is saved, in the inner loss too."""
        super().forget()
        self.loss.forget()

    def forward(self, pred, target):
        """Return the weighted sum of the heads' losses."""
        if len(target) == 0 or len(pred) % len(target) or len(pred) == 0:
            self.refuse(f"a multiple of the {len(target)} targets as rows", len(pred),
                        "pass what a model with Auxiliary heads returns")
        heads = np.split(pred, len(pred) // len(target))
        losses = [self.loss.forward(head, target) for head in heads]
        self.save(len(heads))
        return losses[0] + self.weight * sum(losses[1:])

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        count = self.saved()
        shares = [self.loss.backward() for _ in range(count)][::-1]
        return np.concatenate([shares[0], *(self.weight * share for share in shares[1:])])
