# Exported from chapter 19. Change the notebook, then export again.
"""Losses of masks: overlap instead of single pixels, and several outputs at several sizes.

All take raw scores (logits) and give 0 for a perfect answer, as those of training/loss.py.
"""

import numpy as np

from nyang_edu.model.activation import sigmoid
from nyang_edu.training.loss import Loss


class DiceLoss(Loss):
    """Soft Dice per sample: 1 − mean of (2 Σ p·t + eps) / (Σ p + Σ t + eps), p = sigmoid(pred).

    Shapes: pred (logits) and target (0…1), both (N, …) → float; dpred as pred. Sums go over
    everything but the samples.

    Raises:
        ValueError: where the shapes differ. TypeError: where pred is not of floats.

    Source: Milletari, Navab, Ahmadi, V-Net (2016), section 3, without its squares.
    """

    def __init__(self, eps=1.0):
        self.eps = float(eps)

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.match_shape(pred, target)
        p, axes = sigmoid(pred), tuple(range(1, pred.ndim))
        a = 2 * (p * target).sum(axes, keepdims=True) + self.eps  # (N, 1, …)
        b = (p + target).sum(axes, keepdims=True) + self.eps
        self.save(p, target, a, b)
        return float(1 - (a / b).mean())

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        p, target, a, b = self.saved()
        dp = (a - 2 * target * b) / (b**2 * len(p))
        return dp * p * (1 - p)


def lovasz_gradient(truth):
    """Compute the weight of each sorted error: the steps J_k − J_{k−1} of the lost IoU, J_0 = 0.

    Args:
        truth: (P,) of 0 and 1, or booleans: is pixel k of the object, the worst error first?

    Returns:
        (P,) float64, none negative, their sum 1.

    Source: Berman, Rannen Triki, Blaschko, The Lovász-Softmax loss (2018), algorithm 1.
    """
    truth = np.asarray(truth, dtype=np.float64)
    k, found = np.arange(1, len(truth) + 1), np.cumsum(truth)
    lost = 1 - (truth.sum() - found) / (truth.sum() + k - found)
    return np.diff(lost, prepend=0.0)


def _lovasz(errors, truth):
    """The Lovász extension of the lost IoU at errors (P,), and its gradient by them (P,)."""
    order = np.argsort(-errors, kind="stable")
    gradient = np.empty_like(errors)
    gradient[order] = lovasz_gradient(truth[order])
    return float(gradient @ errors), gradient


class LovaszHingeLoss(Loss):
    """IoU for logits: mean over samples of Σ_k weight_k · error_k, error = max(0, 1 − s·z).

    z = pred, s = 1 where target is 1, else −1; weights: lovasz_gradient of the sorted errors.
    Shapes: pred and target (0 or 1), both (N, …) → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ, or a target is neither 0 nor 1.

    Source: Berman, Rannen Triki, Blaschko (2018), section 2; Yu, Blaschko (2015).
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.match_shape(pred, target).reshape(len(pred), -1)
        if not np.isin(target, (0, 1)).all():
            self.refuse("targets of 0 and 1", "values between", "sort pixels, not shares of pixels")
        sign = 2 * target - 1
        margin = 1 - sign * pred.reshape(len(pred), -1)  # (N, P)
        pairs = [_lovasz(np.maximum(m, 0), t) for m, t in zip(margin, target, strict=True)]
        weights = np.stack([gradient for _, gradient in pairs])
        dpred = np.where(margin > 0, -sign * weights, 0) / len(pred)
        self.save(dpred.reshape(pred.shape).astype(pred.dtype))
        return float(np.mean([value for value, _ in pairs]))

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        return self.saved()


class LovaszSoftmaxLoss(Loss):
    """IoU for classes: mean over samples, and over the classes present, of Σ_k weight_k · error_k.

    error = 1 − p_c where a pixel is of class c, else p_c; p = softmax(pred) over the classes.
    Shapes: pred (N, C, …), target (N, …) of integers from 0 to C − 1 → float; dpred as pred.

    Raises:
        ValueError: where target does not fit pred, or names a class that is not there.

    Source: Berman, Rannen Triki, Blaschko (2018), section 3.
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.expect_labels(pred, target)
        p = np.exp(pred - pred.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        flat, dp, total = p.reshape(*p.shape[:2], -1), np.zeros_like(p), 0.0
        for n, labels in enumerate(target.reshape(len(pred), -1)):
            present = np.unique(labels)
            for c in present:
                value, gradient = _lovasz(np.abs((labels == c) - flat[n, c]), labels == c)
                share = 1 / (len(present) * len(pred))
                dp[n, c].flat = np.where(labels == c, -gradient, gradient) * share
                total += value * share
        self.save(p, dp)
        return total

    def expect_labels(self, pred, target):
        """Return target as an array; raise a ValueError where it does not fit pred."""
        target, C = self.expect_float(pred, target), pred.shape[1]
        if target.shape != pred.shape[:1] + pred.shape[2:] or target.dtype.kind not in "iu":
            self.refuse(f"integer labels {pred.shape[:1] + pred.shape[2:]}",
                        f"{target.dtype} {target.shape}", "one class number for each pixel")
        if target.min() < 0 or target.max() >= C:
            self.refuse(f"labels from 0 to {C - 1}", f"{target.min()} to {target.max()}",
                        "number the classes from 0")
        return target

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        p, dp = self.saved()
        return p * (dp - (p * dp).sum(axis=1, keepdims=True))


class BinaryFocalLoss(Loss):
    """Focal loss of single logits: −mean of α_t (1 − p_t)^γ log p_t, p_t = sigmoid(±pred).

    α_t is alpha where target is 1, else 1 − alpha.
    Shapes: pred and target (0 or 1) of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ, or a target is neither 0 nor 1.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), section 3.
    """

    def __init__(self, gamma=2.0, alpha=0.5):
        self.gamma, self.alpha = float(gamma), float(alpha)

    def forward(self, pred, target):
        """Return the mean over all elements."""
        target = self.match_shape(pred, target)
        if not np.isin(target, (0, 1)).all():
            self.refuse("targets of 0 and 1", "values between", "use BCEWithLogitsLoss for shares")
        sign = 2 * target - 1
        logp = np.minimum(sign * pred, 0) - np.log1p(np.exp(-np.abs(pred)))
        p, wrong = sigmoid(sign * pred), sigmoid(-sign * pred)
        weight = np.where(target == 1, self.alpha, 1 - self.alpha) * wrong**self.gamma / pred.size
        self.save((sign * weight * (self.gamma * p * logp - wrong)).astype(pred.dtype))
        return float(-(weight * logp).sum())

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        return self.saved()


class SumLoss(Loss):
    """Add losses of the same pred and target: Σ_i weight_i · loss_i.

    SumLoss(BCEWithLogitsLoss(), DiceLoss(), weights=(1, 0.5)); without weights all are 1.

    Raises:
        ValueError: without a loss, or with another number of weights.
    """

    def __init__(self, *losses, weights=None):
        self.losses = losses
        self.weights = [1.0] * len(losses) if weights is None else [float(one) for one in weights]
        if not losses or len(self.weights) != len(losses):
            self.refuse("losses, and one weight for each",
                        f"{len(losses)} losses, {len(self.weights)} weights", "name them in pairs")

    def forget(self):
        """Drop what is saved, in the parts too."""
        super().forget()
        for loss in self.losses:
            loss.forget()

    def forward(self, pred, target):
        """Return the weighted sum."""
        self.save(pred.shape)
        return sum(weight * loss.forward(pred, target)
                   for weight, loss in zip(self.weights, self.losses, strict=True))

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        self.saved()
        return sum(weight * loss.backward()
                   for weight, loss in zip(self.weights, self.losses, strict=True))


def resize_target(target, size):
    """Average a mask over blocks: the share of the object in each coarse pixel.

    Args:
        target: (N, H, W) or (N, 1, H, W) of 0 and 1, of any dtype.
        size: (h, w), each dividing H and W.

    Returns:
        (N, 1, h, w) float32.

    Raises:
        ValueError: where h does not divide H, or w does not divide W.
    """
    target = np.asarray(target, dtype=np.float32)
    (H, W), (h, w) = target.shape[-2:], size
    if H % h or W % w:
        raise ValueError(f"resize_target needs a size that divides {H} × {W}, received {h} × {w}: "
                         "pad the images until every pooling divides their size")
    return target.reshape(len(target), 1, h, H // h, w, W // w).mean(axis=(3, 5))


class DeepSupervision(Loss):
    """One loss at several sizes: Σ_k decay^k · loss(pred_k, target at its size) / Σ_k decay^k.

    Shapes: pred, a list of logits (N, 1, h_k, w_k), the finest first, or one array; target
    (N, H, W) or (N, 1, H, W) → float; backward returns a list, or one array, as pred was.

    Raises:
        ValueError: where a size does not divide the target's; further as the loss.

    Source: Lee et al., Deeply-Supervised Nets (2015); Xie, Tu, HED (2015), section 2.
    """

    def __init__(self, loss, decay=0.5):
        self.loss, self.decay = loss, float(decay)

    def forget(self):
        """Drop what is saved, in the inner loss too."""
        super().forget()
        self.loss.forget()

    def forward(self, pred, target):
        """Return the weighted mean over the outputs."""
        several = isinstance(pred, (list, tuple))
        outputs = pred if several else [pred]
        weights = self.decay ** np.arange(len(outputs))
        weights = (weights / weights.sum()).tolist()
        self.save(several, weights)
        return sum(weight * self.loss.forward(out, resize_target(target, out.shape[2:]))
                   for weight, out in zip(weights, outputs, strict=True))

    def backward(self):
        """Return the gradient of each output; the inner loss gives back the latest first."""
        several, weights = self.saved()
        grads = [weight * self.loss.backward() for weight in weights[::-1]][::-1]
        return grads if several else grads[0]
