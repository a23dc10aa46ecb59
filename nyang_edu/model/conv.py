# Exported from chapter 08. Change the notebook, then export again.
"""Convolution: in loops, as one matrix product, and as products over tiles that fit the cache."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input
from nyang_edu.model.tiles import Axis, correlate, correlate_back, correlate_weight
from nyang_edu.utility.init import he_normal
from nyang_edu.utility.layout import from_rows, to_rows
from nyang_edu.utility.windows import col2im, im2col, output_size, pad2d, pair


def conv2d_loops(x, weight, bias, stride=1, padding=0):
    """Slide every kernel over the image, one output element at a time.

    Args:
        x: (N, C, H, W).
        weight: (O, C, KH, KW).
        bias: (O,).
        stride, padding: ints.

    Returns:
        out (N, O, OH, OW), of x's dtype.
    """
    N, _, H, W = x.shape
    O, _, KH, KW = weight.shape
    OH, OW = output_size(H, KH, stride, padding), output_size(W, KW, stride, padding)
    padded = pad2d(x, padding)
    out = np.zeros((N, O, OH, OW), x.dtype)
    for n, o, oh, ow in np.ndindex(out.shape):
        top, left = oh * stride, ow * stride
        window = padded[n, :, top : top + KH, left : left + KW]  # (C, KH, KW)
        out[n, o, oh, ow] = (window * weight[o]).sum() + bias[o]
    return out


def conv2d_im2col(x, weight, bias, stride=1, padding=0, dilation=1):
    """Compute the convolution as one matrix product over all windows.

    Args:
        x: (N, C, H, W).
        weight: (O, C, KH, KW).
        bias: (O,).
        stride, padding, dilation: ints or pairs (height, width).

    Returns:
        out (N, O, OH, OW).

    Source: Chellapilla, Puri, Simard (2006), on unrolling convolution.
    """
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    N, _, H, W = x.shape
    O, _, KH, KW = weight.shape
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    columns = im2col(x, (KH, KW), stride, padding, dilation)  # (N·OH·OW, C·KH·KW)
    rows = columns @ weight.reshape(O, -1).T + bias  # (N·OH·OW, O)
    return rows.reshape(N, OH, OW, O).transpose(0, 3, 1, 2)  # (N, O, OH, OW)


def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    """Compute the gradients of conv2d_im2col.

    Args:
        dout: (N, O, OH, OW), the loss's gradient by the output.
        x: (N, C, H, W), the input of the forward pass.
        weight: (O, C, KH, KW).
        stride, padding, dilation: as in the forward pass.

    Returns:
        dx (N, C, H, W), dweight (O, C, KH, KW), dbias (O,).
    """
    O, _, KH, KW = weight.shape
    columns = im2col(x, (KH, KW), stride, padding, dilation)  # (N·OH·OW, C·KH·KW)
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, O)  # (N·OH·OW, O)
    dweight = (rows.T @ columns).reshape(weight.shape)  # (O, C, KH, KW)
    dbias = rows.sum(axis=0)  # (O,)
    dcolumns = rows @ weight.reshape(O, -1)  # (N·OH·OW, C·KH·KW)
    dx = col2im(dcolumns, x.shape, (KH, KW), stride, padding, dilation)
    return dx, dweight, dbias


class ConvPlain(NyangModel):
    """Convolve by im2col and one product: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW); weight
    (out_channels, in_channels, K, K) in float32, drawn by one call he_normal(shape, rng); bias
    (out_channels,), zeros.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 bias=True, *, rng=None):
        rng = rng or np.random.default_rng()
        self.settings = stride, padding, dilation
        shape = (out_channels, in_channels, *pair(kernel_size))
        self.weight = Parameter(he_normal(shape, rng).astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x):
        """Return out (N, out_channels, OH, OW)."""
        self.save(x)
        bias = self.bias.data if self.bias else 0
        return conv2d_im2col(x, self.weight.data, bias, *self.settings)

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        x = self.saved()
        dx, dweight, dbias = conv2d_im2col_backward(dout, x, self.weight.data, *self.settings)
        self.weight.grad += dweight
        if self.bias:
            self.bias.grad += dbias
        return dx


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Slide every kernel over the image: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Args:
        x: (N, C, H, W).
        weight: (O, C/groups, KH, KW).
        bias: (O,) or None.
        stride, dilation: ints or pairs (height, width).
        padding: an int, a pair, or "same" for OH = H and OW = W at stride 1.
        groups: into how many separate convolutions the channels are divided.

    Returns:
        out (N, O, OH, OW).

    Raises:
        ValueError: where the kernel does not fit into the padded input.
    """
    rows, columns = geometry(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    O, matrix = len(weight), taps_first(weight)
    matrix = matrix.reshape(-1, groups, O // groups).transpose(1, 2, 0)  # (G, O, K)
    out = correlate(to_rows(x), matrix, rows, columns)
    if bias is not None:
        out += bias[:, None, None]
    return from_rows(out)


def conv2d_backward(dout, x, weight, stride=1, padding=0, dilation=1, groups=1):
    """Return dx, dweight and dbias; the arguments are those of conv2d_forward."""
    dx = conv2d_input_gradient(dout, weight, x.shape, stride, padding, dilation, groups)
    dweight = conv2d_weight_gradient(dout, x, weight.shape, stride, padding, dilation, groups)
    return dx, dweight, channel_sums(dout)


def conv2d_input_gradient(dout, weight, x_shape, stride=1, padding=0, dilation=1, groups=1):
    """Return dx (N, C, H, W): what every pixel of x received from all windows that hold it."""
    rows, columns = geometry(x_shape[2:], weight.shape[2:], stride, padding, dilation)
    dout, weight = to_rows(dout), taps_first(weight)
    return from_rows(correlate_back(dout, weight, x_shape[2:], groups, rows, columns))


def conv2d_weight_gradient(dout, x, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    """Return dweight (O, C/groups, KH, KW): the sum over all windows of x times their dout."""
    O, C, KH, KW = weight_shape
    rows, columns = geometry(x.shape[2:], (KH, KW), stride, padding, dilation)
    dweight = correlate_weight(to_rows(x), to_rows(dout), groups, rows, columns)
    dweight = dweight.reshape(groups, KH, KW, C, O // groups).transpose(0, 4, 3, 1, 2)
    return dweight.reshape(weight_shape)


def channel_sums(dout):
    """Return dbias (O,): the bias of a channel is added at every pixel of every sample."""
    H, O, W, N = (rows := to_rows(dout)).shape
    return (rows.reshape(H, O, W * N) @ np.ones(W * N, dout.dtype)).sum(axis=0)


def taps_first(weight):
    """See (O, C, KH, KW) as (KH, KW, C, O), the order in which windows are unfolded."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def geometry(size, kernel, stride, padding, dilation):
    """Work out the Axis of the rows and of the columns."""
    strides, dilations = pair(stride), pair(dilation)
    if isinstance(padding, str):
        if padding != "same" or strides != (1, 1):
            raise ValueError(f'padding is an int, a pair, or "same" at stride 1, received '
                             f"{padding!r} at stride {stride}: give the number of zeros")
        before = [D * (K - 1) // 2 for K, D in zip(kernel, dilations, strict=True)]
        return [Axis(K, L, -B, 1, D)
                for K, L, B, D in zip(kernel, size, before, dilations, strict=True)]
    return [Axis(K, output_size(L, K, S, P, D), -P, S, D) for K, L, S, P, D in
            zip(kernel, size, strides, pair(padding), dilations, strict=True)]


class Conv2d(NyangModel):
    """Convolve images with learned kernels: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW) with
    OH = ⌊(H + 2P − D(K−1) − 1) / S⌋ + 1; weight (out_channels, in_channels/groups, KH, KW),
    bias (out_channels,). input_grad=False is for the first layer of a model: its backward
    returns None, since nobody needs the gradient of the data.

    Raises:
        ValueError, TypeError: for sizes that do not fit, or another dtype than the weights'.

    Source: LeCun et al., Gradient-based learning applied to document recognition (1998), II.A;
    He initialisation: He et al., Delving deep into rectifiers (2015), 2.2.
    """

    axes = "HW"

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True, *, rng=None, init=None, input_grad=True):
        self.in_channels, self.out_channels, self.input_grad = in_channels, out_channels, input_grad
        kernel = self.sizes(kernel_size, "kernel_size", 1)
        if not isinstance(padding, str):
            padding = self.sizes(padding, "padding", 0)
        self.settings = dict(stride=self.sizes(stride, "stride", 1), padding=padding,
                             dilation=self.sizes(dilation, "dilation", 1), groups=groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{type(self).__name__}: groups must divide both channel numbers, "
                             f"received {groups} for {in_channels} and {out_channels}: "
                             "use a common divisor")
        rng = rng or np.random.default_rng()
        weight = (init or he_normal)(self.weight_shape(kernel, groups), rng)
        weight = taps_first(weight.astype(np.float32)).transpose(3, 2, 0, 1)
        self.weight = Parameter(weight.squeeze(2) if self.axes == "L" else weight)
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def weight_shape(self, kernel, groups):
        """Return the weight's shape with two kernel axes."""
        return (self.out_channels, self.in_channels // groups, *kernel)

    def sizes(self, value, name, least):
        """Return (height, width) of a setting.

        Raises:
            ValueError: where it is below what makes sense.
        """
        both = pair(value)
        if min(both) < least:
            raise ValueError(f"{type(self).__name__}: {name} is at least {least}, received {value}")
        return both

    def forward(self, x):
        """Return out (N, out_channels, OH, OW) for x (N, in_channels, H, W)."""
        expect_input(self, x, "N", self.in_channels, *self.axes, dtype=self.weight.data.dtype)
        x = from_rows(to_rows(x))  # copied at most once: backward reads it again
        out = conv2d_forward(x, self.weight.data, self.bias and self.bias.data, **self.settings)
        self.save(x)
        return out

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data
        self.weight.grad += conv2d_weight_gradient(dout, x, weight.shape, **self.settings)
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_input_gradient(dout, weight, x.shape, **self.settings)


class Conv1d(Conv2d):
    """Convolve signals with learned kernels: Conv2d on images of height 1.

    Shapes: x (N, in_channels, L) → out (N, out_channels, OL) with
    OL = ⌊(L + 2P − D(K−1) − 1) / S⌋ + 1; weight (out_channels, in_channels/groups, K).

    Raises:
        ValueError, TypeError: as Conv2d.

    Source: Kiranyaz et al., 1D convolutional neural networks and applications (2021), 2.
    """

    axes = "L"

    def sizes(self, value, name, least):
        """Return (1 or 0, value): nothing happens along the height."""
        value = value if np.ndim(value) == 0 else value[0]
        _, value = super().sizes(value, name, least)
        return least, value

    def forward(self, x):
        """Return out (N, out_channels, OL) for x (N, in_channels, L)."""
        expect_input(self, x, "N", self.in_channels, "L", dtype=self.weight.data.dtype)
        x, bias = from_rows(to_rows(x)), self.bias and self.bias.data  # x: (N, C, 1, L)
        out = conv2d_forward(x, self.weight.data[:, :, None], bias, **self.settings)
        self.save(x)
        return out[:, :, 0]

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, L)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data[:, :, None]
        self.weight.grad += conv2d_weight_gradient(dout, x, weight.shape, **self.settings)[:, :, 0]
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_input_gradient(dout, weight, x.shape, **self.settings)[:, :, 0]


class ConvTranspose2d(Conv2d):
    """Spread every pixel over a window: forward is Conv2d's way back, backward its way forward.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW) with
    OH = (H − 1)·S − 2P + D(K−1) + output_padding + 1;
    weight (in_channels, out_channels/groups, KH, KW), bias (out_channels,).

    Raises:
        ValueError, TypeError: as Conv2d; also where output_padding is not less than stride.

    Source: Dumoulin, Visin, A guide to convolution arithmetic (2016), chapter 4.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1, **keywords):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation,
                         groups, bias, **keywords)
        self.output_padding = self.sizes(output_padding, "output_padding", 0)
        if isinstance(padding, str) or np.any(np.less_equal(self.settings["stride"],
                                                            self.output_padding)):
            raise ValueError("ConvTranspose2d: padding is a number, and output_padding less than "
                             f"the stride, received {padding!r} and {output_padding}")

    def weight_shape(self, kernel, groups):
        """Return (in_channels, out_channels/groups, KH, KW)."""
        return (self.in_channels, self.out_channels // groups, *kernel)

    def forward(self, x):
        """Return out (N, out_channels, OH, OW) for x (N, in_channels, H, W)."""
        expect_input(self, x, "N", self.in_channels, *self.axes, dtype=self.weight.data.dtype)
        s = self.settings
        size = [(L - 1) * S - 2 * P + D * (K - 1) + more + 1 for L, S, P, D, K, more in zip(
            x.shape[2:], s["stride"], s["padding"], s["dilation"], self.weight.data.shape[2:],
            self.output_padding, strict=True)]
        if min(size) < 1:
            raise ValueError(f"ConvTranspose2d: the output would have the size {size}: "
                             "use less padding")
        x, shape = from_rows(to_rows(x)), (len(x), self.out_channels, *size)
        out = conv2d_input_gradient(x, self.weight.data, shape, **s)
        self.save(x)
        return out if self.bias is None else out + self.bias.data[:, None, None]

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data
        self.weight.grad += conv2d_weight_gradient(x, dout, weight.shape, **self.settings)
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_forward(dout, weight, **self.settings)


def same_padding(kernel_size, dilation=1):
    """Return the padding that keeps the size at stride 1: D(K − 1) / 2, an int.

    Raises:
        ValueError: where D(K − 1) is odd; the message names kernel_size and dilation.
    """
    lost = dilation * (kernel_size - 1)
    if lost % 2:
        raise ValueError("equal padding on both sides needs an even D(K − 1), received "
                         f"kernel_size {kernel_size} and dilation {dilation}: use an odd kernel")
    return lost // 2


def receptive_field(layers):
    """Count the input pixels, along one axis, that one output element sees.

    Args:
        layers: list of (kernel_size, stride) pairs, from the input up.

    Returns:
        1 + Σ (K_i − 1) · (product of the strides before layer i), an int.

    Source: Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks (2019).
    """
    size, jump = 1, 1
    for K, S in layers:
        size += (K - 1) * jump
        jump *= S
    return size


def grouped_weight_matrix(weight, groups):
    """Write a grouped weight as the full weight with the same effect: block-diagonal.

    Args:
        weight: (O, C/groups, KH, KW).
        groups: the number of groups; it divides O.

    Returns:
        (O, C, KH, KW), of weight's dtype.
    """
    O, part, KH, KW = weight.shape
    full = np.zeros((O, part * groups, KH, KW), weight.dtype)
    step = O // groups
    for g in range(groups):
        rows, columns = slice(g * step, (g + 1) * step), slice(g * part, (g + 1) * part)
        full[rows, columns] = weight[rows]
    return full
