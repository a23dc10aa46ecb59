# Exported from chapter 10. Change the notebook, then export again.
"""Batch normalisation: keep each channel's mean and spread under control, in both passes."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input
from nyang_edu.utility.layout import each_channel, from_rows, to_rows


def channel_axes(ndim):
    """Return the axes, as a tuple, that a statistic per channel averages over.

    Args:
        ndim: the number of axes of an array (N, C, …), at least 2.
    """
    return (0, *range(2, ndim))


def spread(values, ndim):
    """Shape (C,) as (1, C, 1, …), to meet the channels of an array (N, C, …)."""
    return values.reshape(1, -1, *[1] * (ndim - 2))


def channel_dot(a, b):
    """Sum a · b over everything but the channels: two arrays (N, C, …) → (C,)."""
    axes = list(range(a.ndim))
    return np.einsum(a, axes, b, axes, [1])  # no array of products is stored


def per_channel(x):
    """Compute mean and variance (over the count, not the count - 1) per channel: two (C,)."""
    mean = x.mean(axis=channel_axes(x.ndim))
    centred = x - spread(mean, x.ndim)
    return mean, channel_dot(centred, centred) / (x.size // x.shape[1])


def batchnorm_backward_closed(dout, xhat, std, gamma):
    """Compute dx = γ/std · (dout - mean(dout) - xhat · mean(dout · xhat)), dgamma and dbeta.

    Args:
        dout, xhat: (N, C, …).
        std, gamma: (C,).

    Returns:
        dx (N, C, …), dgamma (C,), dbeta (C,).

    Source: Ioffe and Szegedy, Batch normalization (2015), section 3, simplified.
    """
    ndim, M = dout.ndim, dout.size // dout.shape[1]
    dbeta = dout.sum(axis=channel_axes(ndim))
    dgamma = channel_dot(dout, xhat)
    dx = xhat * spread(dgamma / -M, ndim)  # the one new array; the rest is done in place
    dx += dout
    dx -= spread(dbeta / M, ndim)
    dx *= spread(gamma / std, ndim)
    return dx, dgamma, dbeta


class BatchNorm(NyangModel):
    """Normalise each channel: out = weight · (x - mean) / √(var + eps) + bias.

    In training with the batch's statistics, in eval with the running ones.
    Shapes: x (N, C), (N, C, L) or (N, C, H, W) → out, the same; weight, bias (C,).

    Raises:
        ValueError, TypeError: where x has another shape or dtype than the layer expects.
        ValueError: in training with fewer than two values per channel.

    Source: Ioffe and Szegedy, Batch normalization (2015), sections 3 to 3.2.
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")
    layouts = ("NC", "NCL", "NCHW")

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True):
        self.num_features, self.eps, self.momentum = num_features, float(eps), float(momentum)
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be from 0 to 1, received {momentum}: try 0.1")
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
        self.num_batches_tracked = np.array(0)

    def expect(self, x):
        """Raise where x has not the layer's channels and dtype, or too few values to train on."""
        layout = next((one for one in self.layouts if len(one) == np.ndim(x)), self.layouts[-1])
        shape = [self.num_features if axis == "C" else axis for axis in layout]
        expect_input(self, x, *shape, dtype=self.running_mean.dtype)
        count = x.size // self.num_features  # values per channel
        if self.training and count < 2:
            raise ValueError(
                f"{type(self).__name__} in training needs at least 2 values per channel, "
                f"received {x.shape}: use a larger batch, or model.eval() for inference")

    def gamma_and_beta(self):
        """Return the two arrays (C,), ones and zeros for a layer without parameters."""
        if self.weight:
            return self.weight.data, self.bias.data
        return np.ones_like(self.running_mean), np.zeros_like(self.running_mean)

    def forward(self, x):
        """Return out, with x's shape and dtype."""
        self.expect(x)
        gamma, beta = self.gamma_and_beta()
        count = x.size // self.num_features
        if self.training:
            mean, var = per_channel(x)
            self.track(mean, var, count)
        else:
            mean, var = self.running_mean, self.running_var
        std = np.sqrt(var + self.eps)  # (C,)
        xhat = x - spread(mean, x.ndim)
        xhat /= spread(std, x.ndim)
        self.save(xhat, std, self.training)
        out = xhat * spread(gamma, x.ndim)
        out += spread(beta, x.ndim)
        return out

    def track(self, mean, var, count):
        """Move the running statistics towards a batch of count values per channel."""
        unbiased = var * (count / (count - 1))
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (unbiased - self.running_var)
        self.num_batches_tracked += 1

    def backward(self, dout):
        """Add to the gradients of weight and bias; return dx."""
        gamma, _ = self.gamma_and_beta()
        xhat, std, trained = self.saved()
        if trained:
            dx, dgamma, dbeta = batchnorm_backward_closed(dout, xhat, std, gamma)
        else:
            dx = dout * spread(gamma / std, dout.ndim)
            dgamma = channel_dot(dout, xhat)
            dbeta = dout.sum(axis=channel_axes(dout.ndim))
        if self.weight:
            self.weight.grad += dgamma
            self.bias.grad += dbeta
        return dx


def normalize_blocks(x, stats, gamma, beta, eps):
    """Compute gamma · (x - mean) / √(var + eps) + beta, a few channels at a time.

    stats holds mean, rest and var, (3, C); None takes those of the batch. Returns out, as x, and
    the stats that were used.
    """
    rows, own = to_rows(x), stats is None  # (H, C, W, N)
    H, C, W, N = rows.shape
    P, M = W * N, H * W * N
    out, ones = np.empty(rows.shape, x.dtype), np.ones(P, x.dtype)
    mean, rest, var = stats = np.zeros((3, C), x.dtype) if own else stats

    def average(a):
        return (a.reshape(H, -1, P) @ ones).sum(axis=0) / M

    def block(c):
        X, Y = (a[:, c].reshape(H, -1) for a in (rows, out))  # (H, c·P)
        if own:
            mean[c] = average(X)
        np.subtract(X, mean[c].repeat(P), out=Y)
        if own:
            lines, rest[c] = Y.reshape(H, -1, P), average(Y)
            var[c] = np.vecdot(lines, lines).sum(axis=0) / M
        scale = gamma[c] / np.sqrt(var[c] + eps)
        Y *= scale.repeat(P)
        Y += (beta[c] - rest[c] * scale).repeat(P)

    each_channel(block, rows.shape)
    return from_rows(out, x.ndim), stats


def normalize_blocks_backward(dout, x, stats, gamma, eps, own):
    """Return dx, dgamma and dbeta of normalize_blocks; own: the stats were those of the batch."""
    rows, drows, (mean, rest, var) = to_rows(x), to_rows(dout), stats
    H, C, W, N = rows.shape
    P, M = W * N, H * W * N
    dx, ones, inv = np.empty(rows.shape, x.dtype), np.ones(P, x.dtype), 1 / np.sqrt(var + eps)
    dgamma, dbeta = np.empty((2, C), x.dtype)

    def block(c):
        X, D, Y = (a[:, c].reshape(H, -1) for a in (rows, drows, dx))  # (H, c·P)
        lines = D.reshape(H, len(inv[c]), P)
        np.subtract(X, mean[c].repeat(P), out=Y)
        dbeta[c] = (lines @ ones).sum(axis=0)
        products = np.vecdot(lines, Y.reshape(lines.shape)).sum(axis=0)
        dgamma[c] = inv[c] * (products - rest[c] * dbeta[c])
        if own:
            slope = -inv[c] * dgamma[c] / M
            Y *= slope.repeat(P)
            Y += D
            Y -= (dbeta[c] / M + rest[c] * slope).repeat(P)
        else:
            Y[...] = D
        Y *= (gamma[c] * inv[c]).repeat(P)

    each_channel(block, rows.shape)
    return from_rows(dx, x.ndim), dgamma, dbeta


class BatchNorm1d(BatchNorm):
    """BatchNorm for (N, C) or (N, C, L), by normalize_blocks; all else as there."""

    layouts = ("NC", "NCL")

    def forward(self, x):
        """Return out, with x's shape and dtype."""
        self.expect(x)
        running = None if self.training else np.stack(
            [self.running_mean, np.zeros_like(self.running_mean), self.running_var])
        out, stats = normalize_blocks(x, running, *self.gamma_and_beta(), self.eps)
        if self.training:
            mean, rest, var = stats
            self.track(mean + rest, var, x.size // self.num_features)
        self.save(x, stats, self.training)
        return out

    def backward(self, dout):
        """Add to the gradients of weight and bias; return dx."""
        x, stats, trained = self.saved()
        gamma, _ = self.gamma_and_beta()
        dx, dgamma, dbeta = normalize_blocks_backward(dout, x, stats, gamma, self.eps, trained)
        if self.weight:
            self.weight.grad += dgamma
            self.bias.grad += dbeta
        return dx


class BatchNorm2d(BatchNorm1d):
    """BatchNorm for (N, C, H, W), by normalize_blocks; all else as there."""

    layouts = ("NCHW",)
