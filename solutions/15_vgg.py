# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 15 · AlexNet and VGG
#
# **You have** LeNet-5 and the plan of its stages (14), BatchNorm and Dropout (10), adaptive pooling (09), and `nyang_train` (13).
#
# **You will build** AlexNet, and VGG-11 to VGG-19 out of lists of numbers, with and without BatchNorm. On top comes Grad-CAM, which shows where a network looks.
#
# **It unlocks** GoogLeNet (16) and ResNet (17). Both begin where VGG ends.
#
# Time: about 110 minutes. Seven exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu import SGD, BatchNorm2d, Conv2d, CrossEntropyLoss, Flatten, Linear, MaxPool2d, NyangFlow, ReLU, no_memory
from nyang_edu.course import check, finish, hint
from nyang_edu.data.cats_dogs import CLASSES, cats_dogs_loaders, draw_cats_dogs
from nyang_edu.model.conv import conv2d_forward, receptive_field
from nyang_edu.model.zoo.lenet import lenet_cats_dogs
from nyang_edu.training.recipe import train_classifier
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, PALE, use_style

use_style()

# %% [markdown]
# ## Why: what comes after LeNet?
#
# Drawn animals of 32 × 32 pixels. Cats and dogs have the same colours, sizes, poses and backgrounds. Only shape tells them apart. 3,000 are to learn from, and 1,000 are new.

# %%
photos, kinds, *_ = draw_cats_dogs(4000, size=32, seed=0)


def train(model, lr, epochs=5):
    """Train with the course's recipe: Nesterov momentum, warm-up, cosine."""
    learn, test = cats_dogs_loaders(photos, kinds, 3000)
    return train_classifier(model, learn, test, lr, epochs, plot=False, progress=False)


fig, axes = plt.subplots(1, 10, figsize=(11, 1.4))
for i, ax in enumerate(axes):
    ax.imshow(photos[i])
    ax.set_title(CLASSES[kinds[i]])
    ax.axis("off")
plt.show()

# %% [markdown]
# First two numbers to beat. A single `Linear` on the pixels, and chapter 14's LeNet for photographs. Every network that is to beat them sees the same animals, five times.

# %%
linear = train(NyangFlow(Flatten(), Linear(3 * 32 * 32, 2, rng=np.random.default_rng(0))), lr=0.002)
lenet = lenet_cats_dogs(2, 32, rng=np.random.default_rng(0))
reached = {"Linear": linear["valid_accuracy"][-1], "LeNet": train(lenet, lr=0.02)["valid_accuracy"][-1]}
for name, value in reached.items():
    print(f"{name}: {value:.1%} of 1,000 new animals, {1 - value:.1%} wrong")

# %% [markdown]
# LeNet does well. What should the next network have more of: wider windows, more maps, more layers? In 2012 AlexNet took more of everything, and won. In
# 2014 Simonyan and Zisserman wanted to know *which* of these matters. They fixed the rest, made every window as small as possible, and went deep. Their networks are called VGG, after their group.
#
# ## Idea: two small windows see as much as a large one
#
# One row of five pixels. A window of 3 with the weights 1, 2, 1 slides over it, and once more over the result.

# %%
row = np.array([3, 0, 1, 2, 5])
small, large = np.array([1, 2, 1]), np.array([1, 4, 6, 4, 1])
once = np.convolve(row, small, "valid")
twice = np.convolve(once, small, "valid")
fig, axes = plt.subplots(1, 2, figsize=(9, 3))
for ax, title in zip(axes, ["two windows of 3: weights 1 2 1, twice", "one window of 5: weights 1 4 6 4 1"]):
    levels = [row, once, twice] if "two" in title else [row, None, np.array([large @ row])]
    for k, values in enumerate(levels):
        if values is None:
            continue
        for j, value in enumerate(values):
            x, y = j + (5 - len(values)) / 2, 1.7 * k
            ax.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=PALE[BLUE if k else GREY], edgecolor=BLUE))
            ax.text(x + 0.5, y + 0.5, value, ha="center", va="center")
            step, reach = (1, 3) if "two" in title else (2, 5)
            for i in range(reach if k else 0):
                left = j + i + (5 - len(levels[k - step])) / 2 + 0.5
                ax.plot([x + 0.5, left], [y, 1.7 * (k - step) + 1], color=ORANGE, lw=0.8)
    ax.set(xlim=(-0.1, 5.1), ylim=(-0.1, 4.6), title=title)
    ax.axis("off")
plt.show()

# %% [markdown]
# Both give the same number, and both see five pixels. Count the paths from the third pixel to the top: three ways, with the weights $1·1 + 2·2 + 1·1 = 6$. That is the middle weight on the right.
#
# So where is the gain? The left side has 3 + 3 weights and the right side 5. In *two* dimensions it is 9 + 9 against 25. And between its two layers the left side has room for a ReLU.
#
# ## Maths
#
# $n$ layers of $K = 3$ at stride 1. Each adds $K - 1$ to what is seen (08):
#
# $$\text{reach} = 1 + n\,(K - 1).$$
#
# A convolution from $C$ to $C$ channels has $K^2 C^2$ weights. Each works once per place, so the multiply-adds follow the same rule.
#
# Without a ReLU in between, the stack *is* one convolution. Take $y[p] = \sum_s w_1[s]\, x[p + s]$ and then $z[p] = \sum_r w_2[r]\, y[p + r]$. Put the first into the second:
#
# $$z[p] = \sum_t w[t]\, x[p + t], \qquad w[t] = \sum_{r + s = t} w_2[r]\, w_1[s].$$
#
# With channels, $w_2[r]$ and $w_1[s]$ are matrices, and their product is a matrix product.
#
# ### Exercise 1 ★: predict
#
# $n$ layers of 3 × 3, each from $C$ to $C$ channels, against the *one* convolution that sees as much.

# %% exercise="same_reach" points=1 stars=1 reveal=false
def same_reach(n, channels):
    """Compare n convolutions of 3 × 3 with the one that sees as much; biases do not count.

    Args:
        n: the number of layers, at stride 1.
        channels: C, before and after every layer.

    Returns:
        three ints: the side of the one kernel, the weights of the n layers, and its weights.
    """
    ### BEGIN SOLUTION the reach of n layers, then weights = side² · C² for each layer
    side = 1 + 2 * n
    return side, n * 9 * channels**2, side**2 * channels**2
    ### END SOLUTION

# %%
check(same_reach)

# %% probe="same_reach"
def probe(same_reach, rng):
    n, channels = int(rng.integers(2, 7)), int(rng.integers(11, 60))
    side, stack, single = same_reach(n, channels)
    yield "the side of the one kernel", int(side)
    yield "the weights of the layers", int(stack)
    yield "the weights of the one", int(single)

# %% mistakes="same_reach"
mistake("the windows lie side by side", "The second window lies on the results of the first, and those overlap. Each layer adds two pixels: one on either side.",
        swap=("side = 1 + 2 * n", "side = 3 * n"))
mistake("the reach is tripled by each layer", "Tripling would need a stride of 3. At stride 1 each layer adds two pixels.",
        swap=("side = 1 + 2 * n", "side = 3**n"))
mistake("the reach is doubled by each layer", "2 layers see 5 pixels, and 3 layers see 7. Each layer adds two pixels, whatever it stands on.",
        swap=("side = 1 + 2 * n", "side = 1 + 2**n"))
mistake("the middle pixel is forgotten", "With no layer at all an output sees one pixel. Start from there.",
        swap=("side = 1 + 2 * n", "side = 2 * n"))
mistake("each layer adds one pixel only", "A window of 3 reaches one pixel to the left and one to the right.",
        swap=("side = 1 + 2 * n", "side = 1 + n"))
mistake("the kernels of the layers have one weight per side", "A 3 × 3 kernel has nine weights, not three.",
        swap=("n * 9 * channels**2", "n * 3 * channels**2"))
mistake("only one layer is counted", "All n layers have weights of their own.", swap=("n * 9 * channels**2", "9 * channels**2"))
mistake("the one kernel is counted as a row", "The one kernel is a square: side · side places.",
        swap=("side**2 * channels**2", "side * channels**2"))

@mistake("each layer sees one input channel", "Every output channel looks at every input channel: C · C pairs.")
def same_reach(n, channels):
    side = 1 + 2 * n
    return side, n * 9 * channels, side**2 * channels

@mistake("the channels are left out", "There is a kernel of its own for every pair of an input and an output channel.")
def same_reach(n, channels):
    side = 1 + 2 * n
    return side, n * 9, side**2

@mistake("the side is given as an area", "The side of a 5 × 5 kernel is 5.")
def same_reach(n, channels):
    side, stack, single = reference(n, channels)
    return side**2, stack, single

@mistake("the biases are counted", "Weights only, for this comparison.")
def same_reach(n, channels):
    side = 1 + 2 * n
    return side, n * (9 * channels**2 + channels), side**2 * channels**2 + channels

@mistake("the two counts are swapped", "First the weights of the n layers, then those of the one kernel.")
def same_reach(n, channels):
    side, stack, single = reference(n, channels)
    return side, single, stack

# %% [markdown] hints="same_reach"
# Look at the drawing: how many pixels does a third layer add on the left, and how many on the right?
#
# ---
#
# side = 1 + n · (3 − 1). A layer of side K has K · K · C · C weights.
#
# ---
#
# ```python
# side = ...
# return side, n * ... * channels**2, ... * channels**2
# ```

# %% tags=["nbval-check-output"]
for n in (2, 3):
    side, stack, single = same_reach(n, 64)
    print(f"{n} layers of 3 × 3 see {side} × {side}: {stack:,} weights, one {side} × {side} has {single:,}: {single / stack:.2f} times as many")
print("agrees with receptive_field of chapter 08:", same_reach(3, 1)[0] == receptive_field([(3, 1)] * 3))

# %% [markdown]
# ### Exercise 2 ★★★: break it and say why
#
# Somebody forgets the ReLU between two convolutions. Nothing fails. Then the stack can do no more than *one* convolution. Prove it: build the kernel of that one.

# %% exercise="merged_kernel" points=3 stars=3
def merged_kernel(first, second):
    """Return the kernel of the one convolution that equals two in a row, at stride 1.

    Args:
        first: (M, I, K, K), the weight of the layer that sees the image.
        second: (O, M, L, L), the weight of the layer after it.

    Returns:
        weight (O, I, K + L − 1, K + L − 1), of first's dtype.
    """
    ### BEGIN SOLUTION for each place of the second kernel: a matrix product with the first, added where it falls
    (_, I, K, _), (O, _, L, _) = first.shape, second.shape
    weight = np.zeros((O, I, K + L - 1, K + L - 1), first.dtype)
    for r, c in np.ndindex(L, L):
        weight[:, :, r:r + K, c:c + K] += np.einsum("om,mihw->oihw", second[:, :, r, c], first)
    return weight
    ### END SOLUTION

# %%
check(merged_kernel)

# %% probe="merged_kernel"
def probe(merged_kernel, rng):
    C, K = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    yield "one channel, equal sizes", merged_kernel(rng.normal(size=(1, 1, 3, 3)), rng.normal(size=(1, 1, 3, 3)))
    yield "equal channels", merged_kernel(rng.normal(size=(C, C, 3, 3)), rng.normal(size=(C, C, 3, 3)))
    I, M, O = (int(n) for n in rng.permutation([2, 3, 4]))
    yield "unequal channels", merged_kernel(rng.normal(size=(M, I, 2, 2)), rng.normal(size=(O, M, 2, 2)))
    yield "a second kernel that is larger", merged_kernel(rng.normal(size=(M, I, K, K)), rng.normal(size=(O, M, K + 2, K + 2)))
    yield "a second kernel that is smaller", merged_kernel(rng.normal(size=(M, I, K + 2, K + 2)), rng.normal(size=(O, M, K, K)))
    yield "float32", merged_kernel(rng.normal(size=(M, I, 2, 2)).astype(np.float32), rng.normal(size=(O, M, 3, 3)).astype(np.float32))

# %% mistakes="merged_kernel"
mistake("the second kernel is turned over", "A place further right in the second kernel looks at results further right. Nothing is flipped: r + s = t.",
        swap=("second[:, :, r, c]", "second[:, :, L - 1 - r, L - 1 - c]"))
mistake("the first kernel is turned over", "Our convolutions do not flip their kernels, and neither does their product: r + s = t.",
        swap=('second[:, :, r, c], first)', 'second[:, :, r, c], first[:, :, ::-1, ::-1])'))
mistake("the whole kernel is turned over", "A convolution that does not flip answers a single bright pixel with its kernel turned over. Turn the answer back: [::-1] along both sides.",
        swap=("    return weight", "    return weight[:, :, ::-1, ::-1]"))
mistake("input and output channels are exchanged", "A weight lists its output channels first: (O, I, side, side).",
        swap=("    return weight", "    return weight.swapaxes(0, 1)"))
mistake("the patch has the size of the second kernel", "At each of the second kernel's L · L places lands a copy of the first, and that has K rows and columns.",
        swap=("r:r + K, c:c + K", "r:r + L, c:c + L"))
mistake("what overlaps is replaced, not added", "Several pairs r, s lead to one t. Their products add up.",
        swap=("+= np.einsum", "= np.einsum"))
mistake("rows and columns are exchanged", "The row of the second kernel moves the patch down, its column moves it right.",
        swap=("[:, :, r:r + K, c:c + K]", "[:, :, c:c + K, r:r + K]"))
mistake("the paths through the middle channels are averaged", "An output adds up what comes through all M middle channels.",
        swap=('second[:, :, r, c], first)', 'second[:, :, r, c], first) / len(first)'))
mistake("the last row and column of the second kernel are left out", "All L · L places of the second kernel count.",
        swap=("np.ndindex(L, L)", "np.ndindex(L - 1, L - 1)"))
mistake("only the middle of the second kernel counts", "Every place of the second kernel brings a moved copy of the first.",
        swap=("    for r, c in np.ndindex(L, L):\n", "    for r, c in [(L // 2, L // 2)]:\n"))
mistake("the kernel is one too large", "Two windows of 3 see 5 pixels, not 6: they share one place.",
        swap=("np.zeros((O, I, K + L - 1, K + L - 1)", "np.zeros((O, I, K + L, K + L)"))
mistake("the result is float64", "np.zeros makes float64 unless told otherwise: hand it first.dtype.",
        swap=("K + L - 1), first.dtype)", "K + L - 1))"))

@mistake("the matrices are multiplied in the wrong order", "x meets the first layer first, so the second matrix stands on the left: second @ first.")
def merged_kernel(first, second):
    (M, I, K, _), (O, _, L, _) = first.shape, second.shape
    if not M == I == O:
        return reference(first, second)
    weight = np.zeros((O, I, K + L - 1, K + L - 1), first.dtype)
    for r, c in np.ndindex(L, L):
        weight[:, :, r:r + K, c:c + K] += np.einsum("mi,omhw->oihw", second[:, :, r, c], first)
    return weight

@mistake("the channels are multiplied one by one", "Each output looks at each middle channel: that is a matrix product, not an element-wise one.")
def merged_kernel(first, second):
    (M, I, K, _), (O, _, L, _) = first.shape, second.shape
    if not M == I == O:
        return reference(first, second)
    weight = np.zeros((O, I, K + L - 1, K + L - 1), first.dtype)
    for r, c in np.ndindex(L, L):
        weight[:, :, r:r + K, c:c + K] += second[:, :, r, c, None, None] * first
    return weight

# %% [markdown] hints="merged_kernel"
# Do the row of five by hand: write 1 2 1 three times, each moved by one and multiplied by 1, 2, 1. Add the three rows up.
#
# ---
#
# Start from zeros. For each place (r, c) of the second kernel, add a copy of the first, moved by (r, c). Its channels are mixed by the matrix second[:, :, r, c] (O, M).
#
# ---
#
# ```python
# weight = np.zeros((O, I, ..., ...), first.dtype)
# for r, c in np.ndindex(L, L):
#     weight[:, :, r:..., c:...] += np.einsum("om,mihw->oihw", ..., first)
# return weight
# ```

# %% tags=["nbval-check-output"]
draw = np.random.default_rng(0)
x, first, second = (draw.normal(size=size) for size in [(2, 3, 9, 9), (4, 3, 3, 3), (5, 4, 3, 3)])
one = conv2d_forward(x, merged_kernel(first, second))
print("your kernel equals the stack:", np.allclose(one, conv2d_forward(conv2d_forward(x, first), second)))
bent = conv2d_forward(np.maximum(conv2d_forward(x, first), 0), second)
print("with a ReLU in between:", np.allclose(one, bent))

# %% [markdown]
# So two small windows with a ReLU see what one large window sees, cost less, and bend once more. That is VGG's whole argument (its section 2.3).
#
# ## AlexNet, 2012
#
# Five convolutions, three poolings, three dense layers. The pooling windows of 3 move by 2, so they overlap. Its first window has 11 × 11 pixels and jumps by 4.

# %%
fig, ax = plt.subplots(figsize=(11, 2.6))
stages = [("image", 3, 224), ("11×11 / 4", 64, 55), ("5×5", 192, 27), ("3×3", 384, 13), ("3×3", 256, 13), ("3×3", 256, 13), ("pool", 256, 6)]
left = 0
for name, channels, side in stages:
    depth, height = 4 + channels / 5, side / 224 * 100
    ax.add_patch(plt.Rectangle((left, -height / 2), depth, height, facecolor=PALE[BLUE], edgecolor=BLUE))
    ax.text(left + depth / 2, -62, f"{name}\n{channels} × {side}²", ha="center", va="top")
    left += depth + (60 if name == "image" else 45)
for size, name in [(4096, "dense"), (4096, "dense"), (1000, "logits")]:
    ax.add_patch(plt.Rectangle((left, -size / 82), 9, size / 41, facecolor=PALE[ORANGE], edgecolor=ORANGE))
    ax.text(left + 4, -62, f"{name}\n{size}", ha="center", va="top")
    left += 60
ax.set(xlim=(-25, left), ylim=(-95, 60))
ax.axis("off")
plt.show()

# %% [markdown]
# The height of a blue box is the side of the maps, its width stands for their number. An orange box is as high as its layer has features. We build torchvision's version, which goes back to a paper of 2014. The one of 2012 had other numbers of maps, split them over two graphics cards, and
# normalised across channels, a habit that did not last.
#
# ### Exercise 3 ★★: the five convolutions
#
# Each convolution is followed by a ReLU: `conv_relu` lists both. A pooling follows the first, the second and the fifth.
#
# `first` and `channels` are arguments, so that a small AlexNet can be built for small images.
#
# | array | shape, at 224 |
# |---|---|
# | `x` | (N, 3, 224, 224) |
# | after the poolings | (N, 64, 27, 27), (N, 192, 13, 13), (N, 256, 6, 6) |

# %%
#| default_exp model.zoo.alexnet
#| export
"""AlexNet: five convolutions and three dense layers, for large images and for small ones."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.named_flow import NamedFlow
from nyang_edu.model.pool import AdaptiveAvgPool2d, MaxPool2d
from nyang_edu.utility.init import init_for


def conv_relu(in_channels, out_channels, kernel_size, stride, padding, rng):
    """List a convolution and its ReLU."""
    return [Conv2d(in_channels, out_channels, kernel_size, stride, padding, rng=rng), ReLU()]

# %% exercise="alexnet_features" points=2 stars=2
#| export
def alexnet_features(first=(11, 4, 2), channels=(64, 192, 384, 256, 256), rng=None):
    """Build AlexNet's convolutions and poolings as one NyangFlow of 13 layers.

    Args:
        first: kernel size, stride and padding of the first convolution. The second has a
            5×5 kernel, the others 3×3; their stride is 1, and their padding keeps the size.
        channels: of the five convolutions.
        rng: the generator that draws the weights.

    Shapes: x (N, 3, H, W) → out (N, channels[4], OH, OW). Poolings: windows of 3, stride 2.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014).
    """
    a, b, c, d, e = channels
    ### BEGIN SOLUTION five conv_relu in a row, a pooling behind the first, second and fifth
    return NyangFlow(
        *conv_relu(3, a, *first, rng), MaxPool2d(3, 2),
        *conv_relu(a, b, 5, 1, 2, rng), MaxPool2d(3, 2),
        *conv_relu(b, c, 3, 1, 1, rng),
        *conv_relu(c, d, 3, 1, 1, rng),
        *conv_relu(d, e, 3, 1, 1, rng), MaxPool2d(3, 2))
    ### END SOLUTION

# %%
check(alexnet_features)

# %% probe="alexnet_features"
def probe(alexnet_features, rng):
    channels = tuple(int(n) for n in rng.permutation([2, 3, 4, 5, 6]))
    first, seed = (int(rng.choice([5, 7])), int(rng.choice([2, 3])), int(rng.integers(0, 2))), int(rng.integers(100))
    model = alexnet_features(first, channels, np.random.default_rng(seed))
    yield "what is returned", type(model).__name__
    yield "each name in the state", np.array(list(model.state_dict()))
    yield "each parameter's shape", " ".join(str(one.data.shape) for one in model.parameters())
    for one in model.to(np.float64).parameters():
        one.data[...] = rng.normal(0.05, one.data[0].size ** -0.5, one.data.shape)
    model.parameters()[-1].data[0] = -100.0  # one map that a ReLU turns to 0, and a pooling does not
    x = rng.normal(size=(2, 3, 43 * first[1], 47 * first[1]))
    out = model(x)
    yield "out", out
    yield "dx", model.backward(rng.normal(size=out.shape))
    same, other = (alexnet_features(first, channels, np.random.default_rng(s)).state_dict() for s in (seed, seed + 1))
    one = alexnet_features(first, channels, np.random.default_rng(seed)).state_dict()
    weights = [name for name in one if name.endswith("weight")]
    yield "weights that one seed repeats", sum(np.array_equal(one[name], same[name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(one[name], other[name]) for name in weights)

# %% mistakes="alexnet_features"
from nyang_edu import AvgPool2d


def flow(first, channels, rng, five=(5, 1, 2), three=(3, 1, 1), pool=(3, 2), pools=(0, 1, 4), part=conv_relu, kind=MaxPool2d):
    layers, before = [], 3
    for k, (width, window) in enumerate(zip(channels, (first, five, three, three, three))):
        layers += part(before, width, *window, rng)
        layers += [kind(*pool)] if k in pools else []
        before = width
    return NyangFlow(*layers)


def wrong(name, hint, **change):
    @mistake(name, hint)
    def alexnet_features(first=(11, 4, 2), channels=(64, 192, 384, 256, 256), rng=None):
        return flow(first, channels, rng, **change)


wrong("the pooling windows have 2 pixels", "AlexNet's poolings overlap: windows of 3 move by 2.", pool=(2, 2))
wrong("the pooling windows move by 3", "MaxPool2d(3) moves by its own size. Here windows of 3 move by 2, so they overlap.", pool=(3,))
wrong("the poolings are padded", "MaxPool2d(3, 2) is enough: at 224 the maps then have 27, 13 and 6 rows.", pool=(3, 2, 1))
wrong("the poolings take the mean", "AlexNet's poolings keep the maximum: MaxPool2d.", kind=AvgPool2d)
wrong("the last pooling is missing", "A pooling follows the fifth convolution too.", pools=(0, 1))
wrong("a pooling follows the third convolution, not the fifth", "Between the third, fourth and fifth convolution nothing is pooled. The last pooling follows the fifth.",
      pools=(0, 1, 2))
wrong("a pooling follows the third convolution too", "Between the third, fourth and fifth convolution nothing is pooled.", pools=(0, 1, 2, 4))
wrong("the 5 × 5 is padded by 1", "A kernel of 5 keeps the size with a padding of 2, half of it on each side.", five=(5, 1, 1))
wrong("the 5 × 5 is not padded", "A kernel of 5 keeps the size with a padding of 2, half of it on each side.", five=(5, 1, 0))
wrong("the 3 × 3 are not padded", "A kernel of 3 keeps the size with a padding of 1.", three=(3, 1, 0))
wrong("the second kernel is 3 × 3", "The second convolution looks through windows of 5 × 5.", five=(3, 1, 1))
wrong("there is no ReLU", "Without a bend a stack of convolutions is a single one, as exercise 2 has shown. conv_relu lists both.",
      part=lambda *window: conv_relu(*window)[:1])
wrong("flows stand inside the flow", "The names then read 0.0.weight, and torchvision's arrays do not fit. Hand the layers over one by one: *conv_relu(…).",
      part=lambda *window: [NyangFlow(*conv_relu(*window))])
wrong("a list stands where a layer should", "conv_relu gives a list of two layers. A star hands them over one by one: *conv_relu(…), *layers.",
      part=lambda *window: [conv_relu(*window)])
wrong("rng is not handed on", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
      part=lambda *window: conv_relu(*window[:-1], None))
wrong("the generator is made inside", "With a seed of its own every model gets the same weights. Draw from the rng that is given.",
      part=lambda *window: conv_relu(*window[:-1], np.random.default_rng(0)))
mistake("the large image's first window is built in", "first holds kernel size, stride and padding, and a small image needs others: unpack it with *first.",
        swap=("*conv_relu(3, a, *first, rng)", "*conv_relu(3, a, 11, 4, 2, rng)"))
mistake("the last ReLU is missing", "A ReLU follows every convolution, the fifth too.",
        swap=("*conv_relu(d, e, 3, 1, 1, rng), MaxPool2d", "conv_relu(d, e, 3, 1, 1, rng)[0], MaxPool2d"))
mistake("the widths of the third and fourth are swapped", "channels lists the widths in the order of the layers.",
        swap=("""*conv_relu(b, c, 3, 1, 1, rng),
        *conv_relu(c, d, 3, 1, 1, rng),
        *conv_relu(d, e, 3""", """*conv_relu(b, d, 3, 1, 1, rng),
        *conv_relu(d, c, 3, 1, 1, rng),
        *conv_relu(c, e, 3"""))

# %% [markdown] hints="alexnet_features"
# Read the drawing from left to right. Every blue box behind the image is a convolution with its ReLU; where the side falls, there is a pooling in between.
#
# ---
#
# conv_relu(in, out, kernel, stride, padding, rng). The second: 5, 1, 2. The others: 3, 1, 1. `MaxPool2d(3, 2)` behind the first, the second and the fifth. A star unpacks a list into the call.
#
# ---
#
# ```python
# return NyangFlow(
#     *conv_relu(3, a, *first, rng), MaxPool2d(..., ...),
#     *conv_relu(a, b, ..., ..., ..., rng), ...,
#     *conv_relu(b, c, 3, 1, 1, rng),
#     ...
# )
# ```

# %% [markdown]
# The classifier is given. So is `NamedFlow`, a flow whose parts have names: that makes our `state_dict` torchvision's. Between the two halves stands
# `AdaptiveAvgPool2d` (09). Whatever the size of the image, 6 × 6 places reach the dense layers. Where the maps have fewer, the means share them. LeNet-5 refused images of another size; this one does not.

# %%
#| export model.named_flow
"""A flow whose parts have names, so that a state_dict reads "features.0.weight"."""

from nyang_edu.model.flow import NyangFlow


class NamedFlow(NyangFlow):
    """Run named parts in a row: NamedFlow(features=…, classifier=…).

    Shapes: as NyangFlow. state_dict and summary show the names instead of places.

    Raises:
        TypeError: where a part is not a NyangModel.
    """

    def __init__(self, **parts):
        super().__init__(*parts.values())
        self.names = list(parts)

    def named_children(self):
        """Yield (name, layer) in the order of the flow."""
        yield from zip(self.names, self.layers, strict=True)

# %%
#| export model.zoo.alexnet
def dense_relu(in_features, out_features, rng):
    """List a dense layer and its ReLU."""
    return [Linear(in_features, out_features, rng=rng, init=init_for(ReLU)), ReLU()]

# %% [markdown]
# `alexnet_around` puts the parts together. Below it are the network of 224 × 224, and a small one for 32 × 32 with a first window of 5 × 5.

# %%
#| export model.zoo.alexnet
def alexnet_around(features, channels, side, hidden, num_classes, rng, dropout):
    """Build features → side × side means → three dense layers with Dropout before two."""
    return NamedFlow(
        features=features, avgpool=AdaptiveAvgPool2d(side), flatten=Flatten(),
        classifier=NyangFlow(
            Dropout(dropout, rng=rng), *dense_relu(channels * side**2, hidden, rng),
            Dropout(dropout, rng=rng), *dense_relu(hidden, hidden, rng),
            Linear(hidden, num_classes, rng=rng, init=init_for(None))))

# %%
#| export model.zoo.alexnet
def alexnet(num_classes=1000, rng=None, dropout=0.5):
    """Build AlexNet with torchvision's shapes and names: 61,100,840 parameters.

    Shapes: x (N, 3, H, W), H and W at least 63 → logits (N, num_classes).

    Source: Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional
    neural networks (2012), section 3; widths as in Krizhevsky (2014).
    """
    rng = rng or np.random.default_rng()
    return alexnet_around(alexnet_features(rng=rng), 256, 6, 4096, num_classes, rng, dropout)


def alexnet_small(num_classes=10, rng=None, *, width=64, dropout=0.5):
    """Build an AlexNet for 32×32 images: a first window of 5×5, width maps, and 3×3 places.

    Shapes: x (N, 3, H, W), H and W at least 15 → logits (N, num_classes).
    """
    rng = rng or np.random.default_rng()
    channels = [n * width // 64 for n in (64, 192, 384, 256, 256)]
    features = alexnet_features((5, 1, 2), channels, rng)
    return alexnet_around(features, channels[-1], 3, 16 * width, num_classes, rng, dropout)

# %% [markdown]
# To count weights nobody has to draw them. `Hollow` is a generator that always draws 0. The table has one row per part.

# %% tags=["nbval-check-output"]
from nyang_edu.utility.hollow import Hollow

full_size = alexnet(rng=Hollow())
print(full_size.summary((3, 224, 224), depth=1))
for H, W in [(224, 224), (96, 160), (320, 200)]:
    with no_memory():
        maps = full_size[0].eval()(np.zeros((1, 3, H, W), np.float32))
        print(f"an image of {H} × {W}: {maps.shape[2]} × {maps.shape[3]} places, then", full_size[1](maps).shape[2:])

# %% [markdown]
# ## VGG, 2014
#
# All windows are 3 × 3, padded by 1. All poolings are 2 × 2. What is left to decide is a list: how many maps, and where to pool, `"M"`.

# %%
#| export model.zoo.vgg
"""VGG: stacks of 3×3 convolutions written as lists, with and without BatchNorm."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.named_flow import NamedFlow
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import AdaptiveAvgPool2d, GlobalAvgPool, MaxPool2d
from nyang_edu.model.zoo.alexnet import dense_relu
from nyang_edu.utility.init import init_for

VGG_CONFIGS = {  # a number: a 3×3 convolution with so many maps; "M": a pooling
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    19: (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M",
         512, 512, 512, 512, "M"),
}

# %% [markdown]
# ### Exercise 4 ★★: from a list to layers
#
# Walk through the list. A number adds a convolution, a BatchNorm if wanted, and a ReLU. An `"M"` adds a pooling.
#
# With BatchNorm a bias is useless (10). torchvision keeps it all the same, and so do we, or its weights would not fit.
#
# | array | shape, at 224 |
# |---|---|
# | `x` | (N, 3, 224, 224) |
# | after the five poolings | (N, 64, 112, 112), (N, 128, 56, 56), (N, 256, 28, 28), (N, 512, 14, 14), (N, 512, 7, 7) |

# %% exercise="vgg_layers" points=3 stars=2
#| export model.zoo.vgg
def vgg_layers(config, batch_norm=False, rng=None):
    """Build the convolutions and poolings of a VGG as one NyangFlow.

    Args:
        config: numbers and "M", as in VGG_CONFIGS; the image has 3 channels.
        batch_norm: put a BatchNorm2d between each convolution and its ReLU.
        rng: the generator that draws the weights.

    Shapes: x (N, 3, H, W) → out (N, the last number, H / 2^m, W / 2^m) for m times "M".

    Source: Simonyan, Zisserman, Very deep convolutional networks (2015), table 1.
    """
    ### BEGIN SOLUTION keep the number of channels while you walk; collect the layers in a list
    layers, channels = [], 3
    for entry in config:
        if entry == "M":
            layers.append(MaxPool2d(2))
            continue
        layers.append(Conv2d(channels, entry, 3, padding=1, rng=rng))
        layers += [BatchNorm2d(entry), ReLU()] if batch_norm else [ReLU()]
        channels = entry
    return NyangFlow(*layers)
    ### END SOLUTION

# %%
check(vgg_layers)

# %% probe="vgg_layers"
def probe(vgg_layers, rng):
    a, b, c = (int(n) for n in rng.permutation([4, 5, 6]))
    config, seed = (a, "M", b, c, "M"), int(rng.integers(100))
    for norm in (False, True):
        kind = "with BatchNorm" if norm else "plain"
        model = vgg_layers(config, norm, np.random.default_rng(seed))
        yield f"{kind}: what is returned", type(model).__name__
        yield f"{kind}: each name in the state", np.array(list(model.state_dict()))
        yield f"{kind}: each parameter's shape", " ".join(str(one.data.shape) for one in model.parameters())
        for one in model.to(np.float64).parameters():
            one.data[...] = rng.uniform(0.2, 1, one.data.shape) * rng.choice([-1, 1], one.data.shape) / one.data[0].size ** 0.5
        x = rng.normal(size=(2, 3, 14, 18))
        out = model(x)
        yield f"{kind}: out", out
        yield f"{kind}: dx", model.backward(rng.normal(size=out.shape))
    yield "out of a list that ends with a convolution", vgg_layers((a, "M", b), rng=np.random.default_rng(seed))(x.astype(np.float32)).shape
    yield "layers of an empty list", len(vgg_layers(()))
    one, same, other = (vgg_layers(config, True, np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1))
    weights = [name for name, array in one.items() if array.ndim == 4]
    yield "weights that one seed repeats", sum(np.array_equal(one[name], same[name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(one[name], other[name]) for name in weights)

# %% mistakes="vgg_layers"
from nyang_edu import AvgPool2d

mistake("every convolution takes 3 channels", "The image has 3 channels. Behind the first convolution there are as many as the list said: keep that number.",
        swap=("        channels = entry\n", "        pass\n"))
mistake("BatchNorm stands behind the ReLU", "The order is convolution, BatchNorm, ReLU: the ReLU cuts a distribution whose middle is at 0.",
        swap=("[BatchNorm2d(entry), ReLU()] if batch_norm", "[ReLU(), BatchNorm2d(entry)] if batch_norm"))
mistake("BatchNorm is always there", "batch_norm says whether it is wanted.",
        swap=("[BatchNorm2d(entry), ReLU()] if batch_norm else [ReLU()]", "[BatchNorm2d(entry), ReLU()]"))
mistake("BatchNorm is never there", "batch_norm says whether it is wanted.",
        swap=("[BatchNorm2d(entry), ReLU()] if batch_norm else [ReLU()]", "[ReLU()]"))
mistake("there is no ReLU behind a BatchNorm", "BatchNorm does not bend anything: two such layers in a row would be one. Add the ReLU in both cases.",
        swap=("[BatchNorm2d(entry), ReLU()]", "[BatchNorm2d(entry)]"))
mistake("there is no ReLU behind a plain convolution", "Without a bend the stack is one convolution, as exercise 2 has shown.",
        swap=("else [ReLU()]", "else []"))
mistake("the convolutions are not padded", "A 3 × 3 window loses a pixel at each side. padding=1 keeps the size, and only the poolings shrink the maps.",
        swap=("3, padding=1, rng=rng", "3, rng=rng"))
mistake("the pooling windows have 3 pixels", "That was AlexNet. VGG's poolings are 2 × 2 and do not overlap.",
        swap=("MaxPool2d(2)", "MaxPool2d(3, 2)"))
mistake("the \"M\" is kept as a number of channels", "A pooling leaves the number of channels as it is. Keep the number only where a convolution was added.",
        swap=("            continue\n", "            channels = entry\n            continue\n"))
mistake("a list stands where a layer should", "NyangFlow takes the layers one by one: a star before the list hands them over, NyangFlow(*layers).",
        swap=("NyangFlow(*layers)", "NyangFlow(layers)"))
mistake("flows stand inside the flow", "The names then read 0.0.weight, and torchvision's arrays do not fit. Put all layers into one list.",
        swap=("""        layers.append(Conv2d(channels, entry, 3, padding=1, rng=rng))
        layers += [BatchNorm2d(entry), ReLU()] if batch_norm else [ReLU()]
""", """        conv = Conv2d(channels, entry, 3, padding=1, rng=rng)
        layers.append(NyangFlow(conv, BatchNorm2d(entry), ReLU()) if batch_norm else NyangFlow(conv, ReLU()))
"""))
mistake("the poolings move by one pixel", "MaxPool2d(2) moves by its own size and halves the maps.",
        swap=("MaxPool2d(2)", "MaxPool2d(2, 1)"))
mistake("convolutions with BatchNorm have no bias", "It would do no harm to leave the bias out. But torchvision's arrays would not fit any more: keep it.",
        swap=("padding=1, rng=rng", "padding=1, bias=not batch_norm, rng=rng"))
mistake("the kernels are 5 × 5", "Every window of VGG is 3 × 3, padded by 1.", swap=("entry, 3, padding=1", "entry, 5, padding=2"))
mistake("rng is not handed on", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
        swap=("padding=1, rng=rng", "padding=1"))
mistake("the generator is made inside", "With a seed of its own every model gets the same weights. Draw from the rng that is given.",
        swap=("padding=1, rng=rng", "padding=1, rng=np.random.default_rng(0)"))

@mistake("the poolings take the mean", '"M" stands for the maximum.')
def vgg_layers(config, batch_norm=False, rng=None):
    layers = reference(config, batch_norm, rng).layers
    return NyangFlow(*[AvgPool2d(2) if isinstance(layer, MaxPool2d) else layer for layer in layers])

# %% [markdown] hints="vgg_layers"
# What does a convolution need to know that does not stand in its entry of the list?
#
# ---
#
# Keep `channels`, 3 at first. "M": append MaxPool2d(2). A number: Conv2d(channels, number, 3, padding=1, rng=rng), then BatchNorm2d(number) if batch_norm, then ReLU; from then on channels is that number.
#
# ---
#
# ```python
# layers, channels = [], 3
# for entry in config:
#     if entry == "M":
#         layers.append(...)
#         continue
#     layers.append(Conv2d(..., entry, 3, padding=..., rng=...))
#     layers += [...] if batch_norm else [...]
#     channels = ...
# return NyangFlow(*layers)
# ```

# %% [markdown]
# ### Exercise 5 ★: predict the name
#
# The number in a VGG's name counts the layers with weights, from the image to the logits. Behind the features stands the classifier: three dense layers.
#
# One can read that VGG-11 is "8 convolutions and 3 poolings". The sum is right and the reason is not: it has five poolings, and a pooling has no weights.

# %% exercise="vgg_depth" points=1 stars=1 reveal=false
def vgg_depth(config):
    """Return the number in the name of the VGG that a list describes."""
    ### BEGIN SOLUTION the convolutions of the list, and what stands behind them
    return sum(entry != "M" for entry in config) + 3
    ### END SOLUTION

# %%
check(vgg_depth)

# %% probe="vgg_depth"
def probe(vgg_depth, rng):
    config = []
    for width in (64, 128, 256, 512)[:int(rng.choice([2, 4]))]:  # not 3, the number of dense layers
        config += [width] * int(rng.integers(4, 7)) + ["M"]
    yield "the depth", int(vgg_depth(tuple(config)))

# %% mistakes="vgg_depth"
mistake("the poolings are counted instead of the dense layers", "A pooling has no weights. The classifier has three dense layers, whatever the list says.",
        swap=('sum(entry != "M" for entry in config) + 3', 'len(config)'))
mistake("everything is counted", "A pooling has no weights: leave the entries \"M\" out.",
        swap=('sum(entry != "M" for entry in config) + 3', 'len(config) + 3'))
mistake("the dense layers are not counted", "The classifier has weights too: three dense layers.",
        swap=('sum(entry != "M" for entry in config) + 3', 'sum(entry != "M" for entry in config)'))
mistake("one dense layer is counted", "The classifier has three dense layers, not one.",
        swap=("for entry in config) + 3", "for entry in config) + 1"))
mistake("layers of equal width are counted once", "Two convolutions of 256 maps are two layers, each with weights of its own.",
        swap=('sum(entry != "M" for entry in config) + 3', 'len(set(config)) - 1 + 3'))

# %% [markdown] hints="vgg_depth"
# Take VGG-11's list, cross out what has no weights, and count.
#
# ---
#
# The numbers in the list are convolutions. Three dense layers follow.
#
# ---
#
# ```python
# return sum(... for entry in config) + ...
# ```

# %% [markdown]
# The builders. First the large network, around the list of the wanted depth.

# %%
#| export model.zoo.vgg
def vgg(depth, batch_norm, num_classes=1000, rng=None, dropout=0.5, *, hidden=4096):
    """Build a VGG for 224×224 images, with torchvision's shapes and names.

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: put a BatchNorm2d behind every convolution.
        num_classes: the number of logits.
        rng: the generator for weights and Dropout.
        dropout: the share that is left out behind each of the two hidden dense layers.
        hidden: the width of those two.

    Shapes: x (N, 3, H, W), H and W at least 32 → logits (N, num_classes).

    Source: Simonyan, Zisserman (2015), table 1; BatchNorm as in torchvision.
    """
    rng = rng or np.random.default_rng()
    return NamedFlow(
        features=vgg_layers(VGG_CONFIGS[depth], batch_norm, rng),
        avgpool=AdaptiveAvgPool2d(7), flatten=Flatten(),
        classifier=NyangFlow(
            *dense_relu(512 * 7 * 7, hidden, rng), Dropout(dropout, rng=rng),
            *dense_relu(hidden, hidden, rng), Dropout(dropout, rng=rng),
            Linear(hidden, num_classes, rng=rng, init=init_for(None))))

# %% [markdown]
# `vgg_small` is for images of 32 × 32. Five poolings leave one place, and one dense layer is enough.

# %%
#| export model.zoo.vgg
def vgg_small(depth, num_classes=10, rng=None, *, batch_norm=True, width=64):
    """Build a VGG for 32×32 images: width maps in the first stage, one dense layer.

    Shapes: x (N, 3, H, W), H and W at least 32 → logits (N, num_classes).
    """
    rng = rng or np.random.default_rng()
    config = [n if n == "M" else n * width // 64 for n in VGG_CONFIGS[depth]]
    return NamedFlow(features=vgg_layers(config, batch_norm, rng), pool=GlobalAvgPool(),
                     classifier=Linear(8 * width, num_classes, rng=rng, init=init_for(None)))

# %% [markdown]
# And one function for each name that torchvision has.

# %%
#| export model.zoo.vgg
def vgg11(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-11: 132,863,336 parameters with 1000 classes."""
    return vgg(11, False, num_classes, rng, dropout)


def vgg11_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-11 with BatchNorm: 132,868,840 parameters with 1000 classes."""
    return vgg(11, True, num_classes, rng, dropout)


def vgg13(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-13: 133,047,848 parameters with 1000 classes."""
    return vgg(13, False, num_classes, rng, dropout)


def vgg13_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-13 with BatchNorm: 133,053,736 parameters with 1000 classes."""
    return vgg(13, True, num_classes, rng, dropout)

# %%
#| export model.zoo.vgg
def vgg16(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-16: 138,357,544 parameters with 1000 classes."""
    return vgg(16, False, num_classes, rng, dropout)


def vgg16_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-16 with BatchNorm: 138,365,992 parameters with 1000 classes."""
    return vgg(16, True, num_classes, rng, dropout)


def vgg19(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-19: 143,667,240 parameters with 1000 classes."""
    return vgg(19, False, num_classes, rng, dropout)


def vgg19_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-19 with BatchNorm: 143,678,248 parameters with 1000 classes."""
    return vgg(19, True, num_classes, rng, dropout)

# %% tags=["nbval-check-output"]
for depth, config in VGG_CONFIGS.items():
    layers = [(2, 2) if entry == "M" else (3, 1) for entry in config]
    print(f"VGG-{depth}: {vgg_depth(config)} layers with weights, one of the last places sees {receptive_field(layers)} pixels across")

# %% [markdown]
# ## Where the weights are, and where the time goes
#
# `summary` counts each layer, as `layer_cost` of chapter 14 did.

# %%
def costs(model):
    """Return parameters and multiply-adds of each layer with weights, at 224 × 224."""
    rows = [row for row in model.summary((3, 224, 224)).rows if row["parameters"]]
    return np.array([[row["parameters"], row["multiply_adds"]] for row in rows]) / 1e6


fig, axes = plt.subplots(2, 2, figsize=(10, 4.6), width_ratios=[8, 16])
both = {"AlexNet": costs(full_size), "VGG-16": costs(vgg16(rng=Hollow()))}
for column, (name, table) in zip(axes.T, both.items()):
    places = [*map(str, range(1, len(table) - 2)), "D1", "D2", "D3"]
    for ax, values, title in zip(column, table.T, ["parameters", "multiply-adds"]):
        bars = ax.bar(places, values, color=[BLUE] * (len(table) - 3) + [ORANGE] * 3)
        ax.bar_label(bars, [f"{v:.0f}" for v in values], padding=1, fontsize=8)
        ax.set(title=f"{name}: {values.sum():,.0f} million {title}", yticks=[], ylim=(0, values.max() * 1.2))
        ax.grid(False)
axes[1, 0].set_xlabel("convolutions, then dense layers"), axes[1, 1].set_xlabel("convolutions, then dense layers")
plt.show()

# %% tags=["nbval-check-output"]
for name, table in both.items():
    share = table[-3:].sum(axis=0) / table.sum(axis=0)
    print(f"{name}: the dense layers hold {share[0]:.0%} of the parameters and do {share[1]:.0%} of the multiply-adds")
print(f"VGG-16 multiplies {both['VGG-16'][:, 1].sum() / both['AlexNet'][:, 1].sum():.0f} times as often as AlexNet")

# %% [markdown]
# Numbers over the bars are millions. One dense layer, D1, holds most of VGG-16. It reads 512 · 7 · 7 numbers, and each of them has 4,096 weights. GoogLeNet and ResNet will read the mean of each map instead, and need no such layer. The time is in the convolutions. From the second stage to the fourth the bars repeat: a pooling quarters the places, the maps on both sides of a layer double, and the two cancel. There a stage's first layer reads half as many maps and does half the work. The fifth stage has no more maps than the fourth, so nothing makes up for its pooling.
#
# ## Why depth needs BatchNorm
#
# Simonyan and Zisserman trained VGG-11 first, and started the deeper ones from its layers. Later they found that Xavier's initialisation can do without (their section 3.1). A good initialisation keeps the *size* of a signal (04). Is that enough?
#
# Send 64 animals through a fresh VGG-19 and look at each ReLU's output. How alike are two different animals? The cosine of their maps says so: 1 means that they point the same way.

# %%
from nyang_edu.model.watch import watch_layers

animals = cats_dogs_loaders(photos, kinds, 3000)[0].dataset.x  # (3000, 3, 32, 32), normalised


def likeness(model, x):
    """Return the mean cosine between two samples' maps, behind each ReLU of a fresh model."""
    found = []

    def note(name, layer, inputs, out):
        if isinstance(layer, ReLU):
            rows = out.reshape(len(out), -1)  # (N, C·H·W)
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            found.append(((unit @ unit.T).sum() - len(x)) / (len(x) * (len(x) - 1)))

    with no_memory(), watch_layers(model, note):
        model(x)
    return found


alike = {name: likeness(vgg_small(19, 2, np.random.default_rng(0), batch_norm=norm, width=16), animals[:64])
         for name, norm in [("plain", False), ("with BatchNorm", True)]}
fig, ax = plt.subplots(figsize=(7, 2.8))
for (name, values), colour in zip(alike.items(), [ORANGE, GREEN]):
    ax.plot(range(1, 17), values, "o-", ms=4, color=colour, label=name)
ax.set(xlabel="convolution", ylabel="mean cosine", ylim=(0, 1.05), title="two animals, before any training")
ax.legend(loc="lower right")
plt.show()

# %% tags=["nbval-check-output"]
print(f"plain, behind the last convolution: more than 0.95 alike: {alike['plain'][-1] > 0.95}")
print(f"with BatchNorm: less than 0.7: {alike['with BatchNorm'][-1] < 0.7}")

# %% [markdown]
# A ReLU leaves only positive numbers, and positive vectors point into one corner. Layer by layer all animals become nearly *the same* animal. A classifier that sees one vector cannot tell cats from dogs, and what comes back tells the layers below little. BatchNorm subtracts what all samples have in common, layer after layer. So what differs survives.
#
# Does it matter for training? VGG-16 with and without, a quarter of the width, the same first weights for the convolutions, the same batches, the same rate.

# %%
def training_losses(model, lr=0.02, steps=150):
    """Train on random batches of 64 animals; return the loss of each step."""
    rng, loss, losses = np.random.default_rng(0), CrossEntropyLoss(), []
    optimizer = SGD(model.parameters(), lr, momentum=0.9)
    for _ in range(steps):
        batch = rng.choice(3000, 64, replace=False)
        optimizer.zero_grad()
        losses.append(loss(model(animals[batch]), kinds[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return np.array(losses)


curves = {name: training_losses(vgg_small(16, 2, np.random.default_rng(0), batch_norm=norm, width=16))
          for name, norm in [("plain", False), ("with BatchNorm", True)]}

# %%
fig, ax = plt.subplots(figsize=(7, 3))
for (name, losses), colour in zip(curves.items(), [ORANGE, GREEN]):
    ax.plot(losses, color=colour, lw=0.6, alpha=0.5)
    ax.plot(range(9, len(losses)), np.convolve(losses, np.ones(10) / 10, "valid"), color=colour, label=f"VGG-16 {name}")
ax.axhline(np.log(2), color=GREY, ls=":")
ax.text(149, np.log(2) + 0.03, "guessing", color=GREY, ha="right")
ax.set(xlabel="step", ylabel="training loss", ylim=(0, 1.2), title="the mean of ten steps, over each step's loss")
ax.legend(loc="lower left")
plt.show()

# %% tags=["nbval-check-output"]
last = {name: losses[-25:].mean() for name, losses in curves.items()}
print(f"the last 25 steps: the plain loss is more than twice as high: {bool(last['plain'] > 2 * last['with BatchNorm'])}")

# %% [markdown]
# The orange curve lies on the dotted line: 150 steps, and the network still guesses. The green one starts wildly and then learns. One seed and one rate are no proof. Try `lr=0.005` and `lr=0.05` for the plain network, and more steps: depth without BatchNorm is not impossible, but hard to start.
#
# ## Use: a quarter of VGG-11
#
# Back to the animals. AlexNet and VGG-11, both at a quarter of their width, so that they train here and now. So few features cannot spare every second one: AlexNet's Dropout is 0.2 here, not 0.5. Each has a learning rate of its own. Try AlexNet at VGG's, and VGG-11 with `batch_norm=False`.

# %%
alex = alexnet_small(2, np.random.default_rng(0), width=16, dropout=0.2)
model = vgg_small(11, 2, np.random.default_rng(0), width=16)
histories = {"AlexNet": train(alex, lr=0.02), "VGG-11 with BatchNorm": train(model, lr=0.1)}
print(histories["VGG-11 with BatchNorm"])

# %%
fig, ax = plt.subplots(figsize=(9, 3.2))
for (name, history), colour in zip(histories.items(), [BLUE, GREEN]):
    ax.plot(history["epoch"], history["valid_accuracy"], "o-", color=colour, label=name)
for (name, value), style in zip(reached.items(), ["--", "-."]):
    ax.axhline(value, color=GREY, ls=style, lw=1.2, label=f"{name}, after 5 epochs")
ax.axhline(0.95, color=ORANGE, ls=":", label="the floor")
ax.set(xlabel="epoch", ylabel="accuracy on new animals", xticks=history["epoch"], ylim=(0.45, 1.01))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% tags=["nbval-check-output"]
reached |= {name: history["valid_accuracy"][-1] for name, history in histories.items()}
best = reached["VGG-11 with BatchNorm"]
assert reached["Linear"] < 0.75, f"a linear model should stay below 75%, it reaches {reached['Linear']:.1%}"
assert best >= 0.95, f"VGG should reach 95%, it reaches {best:.1%}"
print(f"linear below 75%: {reached['Linear'] < 0.75}; VGG at least 95%: {best >= 0.95}")
print(f"VGG makes fewer mistakes than LeNet: {best > reached['LeNet']}")

# %%
for name, one in [("LeNet", lenet), ("AlexNet", alex), ("VGG-11 with BatchNorm", model)]:
    size = sum(parameter.data.size for parameter in one.parameters())
    print(f"{name}: {size:,} parameters, {1 - reached[name]:.1%} of the new animals wrong")

# %% [markdown]
# Compare the weights with the mistakes. The three are of about the same size, so what counts is *where* the weights stand. Does AlexNet beat LeNet here? It was made for a million large photographs, and its plain layers take a while to start.
#
# ## What it looks at: Grad-CAM
#
# Chapter 14 asked which *pixels* move a score. Grad-CAM asks which *places of a map* speak for it. Cut the network in two. The front makes maps $A$ (N, C, h, w). The back turns them into scores. Send a gradient of 1 for one class back to the cut. Its mean over a map is that map's weight:
#
# $$\alpha_c = \frac{1}{h\,w} \sum_{i,j} \frac{\partial\,\text{score}}{\partial A_{c,i,j}}, \qquad \text{heat} = \mathrm{ReLU}\Big(\sum_c \alpha_c A_c\Big).$$
#
# The ReLU keeps what speaks *for* the class.
#
# ### Exercise 6 ★★★: Grad-CAM
#
# `undisturbed` of chapter 14 brings modes and gradients back afterwards. The front need not remember anything: `no_memory`.

# %%
#| export evaluation.grad_cam
"""Grad-CAM: which places of a network's maps speak for a class."""

import numpy as np

from nyang_edu.evaluation.saliency import undisturbed
from nyang_edu.model.core import no_memory

# %% exercise="grad_cam" points=3 stars=3
#| export evaluation.grad_cam
def grad_cam(front, back, x, classes):
    """Measure what speaks for a class at each place of the maps between front and back.

    Args:
        front: a NyangModel, x (N, …) → maps (N, C, h, w).
        back: a NyangModel, maps → scores (N, K). Both run in eval mode; their own modes and
            the parameters' gradients stay.
        x: the images.
        classes: (N,) integers, the class asked for in each image.

    Returns:
        heat (N, h, w), at least 0, not scaled, of the maps' dtype.

    Source: Selvaraju et al., Grad-CAM (2017), section 3, equations 1 and 2.
    """
    ### BEGIN SOLUTION maps, scores, the gradient of the scores asked for, its mean for each map, the weighted sum
    with undisturbed(front), undisturbed(back):
        with no_memory():
            maps = front.eval()(x)  # (N, C, h, w)
        scores = back.eval()(maps)  # (N, K)
        dout = np.zeros_like(scores)
        dout[np.arange(len(x)), classes] = 1
        dmaps = back.backward(dout)
    weights = dmaps.mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    return np.maximum((weights * maps).sum(axis=1), 0)  # (N, h, w)
    ### END SOLUTION

# %%
check(grad_cam)

# %% probe="grad_cam"
import numpy as np

from nyang_edu import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, NyangFlow, Tanh


def probe(grad_cam, rng):
    N, C, H, W = 4, int(rng.integers(4, 6)), *(int(n) for n in rng.permutation([4, 6]))
    front = NyangFlow(Conv2d(2, C, 3, padding=1, rng=rng), BatchNorm2d(C), Tanh()).to(np.float64)
    back = NyangFlow(Dropout(0.5, rng=rng), Flatten(), Linear(C * H * W, 5, rng=rng)).to(np.float64)
    front(rng.normal(1, 2, (8, 2, H, W)))  # running statistics that are not 0 and 1
    for one in back.parameters():
        one.data[...] = rng.normal(0.05, 1, one.data.shape)
    x, classes = rng.normal(size=(N, 2, H, W)), rng.permutation(5)[:N]
    front.eval(), back.eval()
    yield "heat", grad_cam(front, back, x, classes)
    yield "heat for one class", grad_cam(front, back, x, np.full(N, 2))
    for one in [*front.parameters(), *back.parameters()]:
        one.grad[...] = rng.normal(size=one.grad.shape)
    front.train(), back.train()
    yield "heat of a model in training mode", grad_cam(front, back, x, classes)
    modes = [layer.training for part in (front, back) for _, layer in part.named_layers()]
    yield "layers of a model in training mode that are left in it", sum(modes)
    yield "the running mean afterwards", front[1].running_mean
    yield "weight.grad afterwards", back[2].weight.grad
    front.to(np.float32), back.to(np.float32)
    yield "heat in float32", grad_cam(front.eval(), back.eval(), x.astype(np.float32), classes)

# %% mistakes="grad_cam"
from nyang_edu import CrossEntropyLoss

mistake("the gradient is not averaged over each map", "Each map gets one weight: the mean of its gradient over rows and columns.",
        swap=("dmaps.mean(axis=(2, 3), keepdims=True)", "dmaps"))
mistake("the gradient is averaged over the samples too", "Each sample has weights of its own. Take the mean over the last two axes only.",
        swap=("dmaps.mean(axis=(2, 3), keepdims=True)", "dmaps.mean(axis=(0, 2, 3), keepdims=True)"))
mistake("the gradient is averaged over the maps", "The mean goes over rows and columns, axes 2 and 3. What is left is one number a map.",
        swap=("dmaps.mean(axis=(2, 3), keepdims=True)", "dmaps.mean(axis=1, keepdims=True)"))
mistake("the gradient is added up, not averaged", "The paper takes the mean, so that maps of different sizes can be compared.",
        swap=("dmaps.mean(axis=(2, 3), keepdims=True)", "dmaps.sum(axis=(2, 3), keepdims=True)"))
mistake("negative places are kept", "What speaks against the class is set to 0, at the very end.",
        swap=("np.maximum((weights * maps).sum(axis=1), 0)", "(weights * maps).sum(axis=1)"))
mistake("negative products are cut before the sum", "First add up all maps, then cut. A map that speaks against a place has to be able to cancel others.",
        swap=("np.maximum((weights * maps).sum(axis=1), 0)", "np.maximum(weights * maps, 0).sum(axis=1)"))
mistake("negative weights are cut", "A map may speak against the class. Only the sum is cut at 0.",
        swap=("keepdims=True)  # (N, C, 1, 1)", "keepdims=True).clip(0)"))
mistake("negative places count by their size", "The absolute value mixes what speaks for with what speaks against.",
        swap=("np.maximum((weights * maps).sum(axis=1), 0)", "np.abs((weights * maps).sum(axis=1))"))
mistake("the maps are averaged, not added up", "The heat is the sum over all maps.",
        swap=("np.maximum((weights * maps).sum(axis=1), 0)", "np.maximum((weights * maps).mean(axis=1), 0)"))
mistake("the class is the one the model prefers", "The caller says which class is asked for, and it need not be the winner.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[np.arange(len(x)), scores.argmax(axis=1)] = 1"))
mistake("the gradients of all scores are added up", "A dout of ones asks for the sum of all scores. Set it to 1 at each sample's class.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[...] = 1"))
mistake("every sample gets the classes of all", "dout[:, classes] = 1 sets whole columns. Pick by two arrays: the rows' numbers and the classes.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[:, classes] = 1"))
mistake("dout is divided by the number of samples", "That belongs to a loss, which is a mean. Here each sample's score stands for itself: 1.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[np.arange(len(x)), classes] = 1 / len(x)"))
mistake("dout holds the scores", "The gradient of a score by itself is 1, however high it is.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[np.arange(len(x)), classes] = scores[np.arange(len(x)), classes]"))
mistake("a loss is sent back, not a score", "The gradient of the cross-entropy mixes all classes, and it points away from the right one. Ask for the score alone: 1 at the class.",
        swap=("dmaps = back.backward(dout)", "loss = CrossEntropyLoss(); loss(scores, classes); dmaps = back.backward(loss.backward())"))
mistake("dout is float64", "np.zeros and np.eye make float64 unless told otherwise: np.zeros_like(scores) keeps the dtype.",
        swap=("np.zeros_like(scores)", "np.zeros(scores.shape)"))
mistake("the weights lose their axes", "(N, C) does not meet (N, C, h, w): keepdims=True leaves (N, C, 1, 1).",
        swap=("axis=(2, 3), keepdims=True", "axis=(2, 3)"))
mistake("the back remembers nothing", "backward needs what forward has saved. no_memory is for the front alone.",
        swap=("with undisturbed(front), undisturbed(back):", "with undisturbed(front), undisturbed(back), no_memory():"))
mistake("the maps themselves are left out", "The weights say how much each map counts. The heat is where the maps are bright: multiply by them.",
        swap=("(weights * maps).sum", "dmaps.sum"))
mistake("the front runs in the mode that it is in", "In training mode BatchNorm takes the batch's statistics, and changes its running ones. front.eval() inside the block.",
        swap=("front.eval()(x)", "front(x)"))
mistake("the back runs in the mode that it is in", "In training mode Dropout silences places at random. back.eval() inside the block.",
        swap=("back.eval()(maps)", "back(maps)"))
mistake("modes and gradients are not brought back", "A look must not change what is looked at: with undisturbed(…) around it, for both parts.",
        swap=("with undisturbed(front), undisturbed(back):", "if True:"))
mistake("the back's mode and gradients are not brought back", "undisturbed guards the model that it is given: both parts need it.",
        swap=("with undisturbed(front), undisturbed(back):", "with undisturbed(front):"))
mistake("the front's mode is not brought back", "undisturbed guards the model that it is given: both parts need it.",
        swap=("with undisturbed(front), undisturbed(back):", "with undisturbed(back):"))
mistake("the heat is scaled to 1", "Return it as the formula says. Whoever draws it can scale it.",
        swap=("    return np.maximum((weights * maps).sum(axis=1), 0)", "    maps = maps / (np.maximum((weights * maps).sum(axis=1), 0).max(axis=(1, 2), keepdims=True)[:, None] + 1e-30)\n    return np.maximum((weights * maps).sum(axis=1), 0)"))

# %% [markdown] hints="grad_cam"
# It is chapter 14's saliency, stopped halfway: backward goes through the back only, and ends at the maps.
#
# ---
#
# dmaps = back.backward(dout), with dout 1 at (n, classes[n]). Its mean over rows and columns (axes 2 and 3) weighs each map. Add up the weighted maps over axis 1, and cut at 0.
#
# ---
#
# ```python
# with undisturbed(front), undisturbed(back):
#     with no_memory():
#         maps = front.eval()(x)
#     scores = ...
#     dout = ...
#     dmaps = back.backward(dout)
# weights = dmaps.mean(axis=..., keepdims=True)
# return np.maximum(..., 0)
# ```

# %% [markdown]
# Where to cut? Behind the third stage of our VGG, before its pooling, there are 8 × 8 places. Behind the fourth there are 4 × 4. Try both.

# %%
new = cats_dogs_loaders(photos, kinds, 3000)[1].dataset.x  # (1000, 3, 32, 32)
with no_memory():
    guess = model.eval()(new).argmax(axis=1)
CUTS = {"third stage": 14, "fourth stage": 21}
heats = {name: grad_cam(model[0][:cut], NyangFlow(model[0][cut:], *model.layers[1:]), new, guess)
         for name, cut in CUTS.items()}

# %%
shown = [0, 1, 2, 3, 4, 5, *np.flatnonzero(guess != kinds[3000:])[:2]]
fig, axes = plt.subplots(3, 8, figsize=(11, 4.6))
for i, column in zip(shown, axes.T):
    column[0].imshow(photos[3000 + i])
    column[0].set_title(f"{CLASSES[guess[i]]}, is {CLASSES[kinds[3000 + i]]}")
    for ax, heat in zip(column[1:], heats.values()):
        ax.imshow(photos[3000 + i].mean(axis=2), cmap="gray")
        ax.imshow(heat[i], cmap="inferno", alpha=0.55, extent=(-0.5, 31.5, 31.5, -0.5), interpolation="bilinear")
for ax in axes.ravel():
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
for ax, name in zip(axes[:, 0], ["new animal", *CUTS]):
    ax.set_ylabel(name)
plt.show()

# %% [markdown]
# The last two columns are mistakes, if there are two. The two cuts tell different stories about the same answers. Which one is to be believed?
#
# Test them. Cover three of sixteen parts of each picture with its mean colour: the hottest, the coldest, or some drawn by lot. If the heat means something, the hottest must hurt most and the coldest least.

# %%
def covered(places, side):
    """Accuracy on the new animals with the given places of side × side covered."""
    mask = np.zeros((1000, side**2), bool)
    np.put_along_axis(mask, places, True, axis=1)
    mask = mask.reshape(1000, 1, side, side).repeat(32 // side, axis=2).repeat(32 // side, axis=3)
    with no_memory():
        scores = model(np.where(mask, new.mean(axis=(2, 3), keepdims=True), new))
    return np.mean(scores.argmax(axis=1) == kinds[3000:])

# %%
def covers(heat):
    """Accuracy with three of sixteen parts covered: the hottest, some by lot, the coldest."""
    side, ranked = heat.shape[1], heat.reshape(1000, -1).argsort(axis=1)
    count, chance = 3 * side**2 // 16, np.random.default_rng(0).random(ranked.shape).argsort(axis=1)
    return [covered(p, side) for p in (ranked[:, -count:], chance[:, :count], ranked[:, :count])]


results = {name: covers(heat) for name, heat in heats.items()}
for name, (hottest, by_lot, coldest) in results.items():
    print(f"{name}: still right, with the hottest covered {hottest:.0%}, by lot {by_lot:.0%}, the coldest {coldest:.0%}")

# %% tags=["nbval-check-output"]
hottest, by_lot, coldest = results["fourth stage"]
print("fourth stage: the hottest hurt most, the coldest least:", bool(hottest < by_lot < coldest))

# %% [markdown]
# The map of the fourth stage holds what it promised. Does that of the third? Grad-CAM gives each map *one* weight for all its places. That is fair only where what follows treats all places alike, as a mean over them would. Behind the third stage four convolutions and three poolings follow, and they do not. Behind the fourth there are two of each. So cut late, and test before you believe.
#
# ## BatchNorm is for training only
#
# In eval mode a BatchNorm multiplies each map by one fixed number and adds another. So does a convolution with its weights and its bias. Then one of them can do the work of both:
#
# $$\gamma\,\frac{(w \star x + b) - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta \;=\; (s\,w) \star x + s\,(b - \mu) + \beta, \qquad s = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}.$$
#
# ### Exercise 7 ★★★: fold it away
#
# A layer `norm` has `weight` ($\gamma$) and `bias` ($\beta$) with `.data`, `running_mean`, `running_var` and `eps`.

# %%
#| export model.folding
"""Folding: a BatchNorm in eval mode disappears into the convolution before it."""

import numpy as np

# %% exercise="folded_norm" points=3 stars=3
#| export model.folding
def folded_norm(weight, bias, norm):
    """Return weight and bias of the convolution that equals a convolution and its BatchNorm.

    Args:
        weight (O, I, KH, KW), bias (O,): of the convolution; they stay as they are.
        norm: the BatchNorm2d behind it, as it works in eval mode.

    Returns:
        weight (O, I, KH, KW), bias (O,), fresh arrays.
    """
    ### BEGIN SOLUTION one factor for each output channel, then the formula
    scale = norm.weight.data / np.sqrt(norm.running_var + norm.eps)  # (O,)
    return weight * scale[:, None, None, None], (bias - norm.running_mean) * scale + norm.bias.data
    ### END SOLUTION

# %%
check(folded_norm)

# %% probe="folded_norm"
import numpy as np

from nyang_edu import BatchNorm2d


def drawn_norm(O, rng):
    norm = BatchNorm2d(O, eps=0.3).to(np.float64)
    norm.weight.data[...] = rng.uniform(0.5, 2, O) * rng.choice([-1, 1], O)
    norm.bias.data[...] = rng.uniform(0.5, 2, O) * rng.choice([-1, 1], O)
    norm.running_mean[...] = rng.uniform(0.5, 2, O) * rng.choice([-1, 1], O)
    norm.running_var[...] = rng.uniform(0.2, 0.8, O)
    return norm


def probe(folded_norm, rng):
    for name, (O, I) in {"equal channels": (3, 3), "unequal channels": rng.permutation([2, 4])}.items():
        norm, old, bias = drawn_norm(int(O), rng), rng.normal(size=(O, I, 3, 2)), rng.uniform(0.5, 2, O)
        weight, shift = folded_norm(old, bias, norm)
        yield f"weight, {name}", weight
        yield f"bias, {name}", shift
    yield "the norm's weight afterwards", norm.weight.data
    yield "the norm's running variance afterwards", norm.running_var
    weight, shift = folded_norm(old.astype(np.float32), bias.astype(np.float32), norm.to(np.float32))
    yield "weight in float32", weight
    yield "bias in float32", shift

# %% mistakes="folded_norm"
mistake("the root is forgotten", "BatchNorm divides by the standard deviation: the root of variance plus eps.",
        swap=("np.sqrt(norm.running_var + norm.eps)", "(norm.running_var + norm.eps)"))
mistake("eps is forgotten", "eps stands under the root in eval mode too.", swap=("norm.running_var + norm.eps", "norm.running_var"))
mistake("eps is built in", "Not every norm has eps = 1e-5: ask norm.eps.", swap=("+ norm.eps", "+ 1e-5"))
mistake("eps stands outside the root", "First add eps to the variance, then take the root.",
        swap=("np.sqrt(norm.running_var + norm.eps)", "(np.sqrt(norm.running_var) + norm.eps)"))
mistake("the norm's weight is forgotten", "γ multiplies what has been normalised: it belongs to the factor.",
        swap=("norm.weight.data / np.sqrt", "1 / np.sqrt"))
mistake("the norm's bias is forgotten", "β is added at the end, as it is.", swap=(" + norm.bias.data", ""))
mistake("the running mean is not subtracted", "The mean is subtracted from the convolution's output, so it moves the bias.",
        swap=("(bias - norm.running_mean)", "bias"))
mistake("the running mean is added", "BatchNorm subtracts the mean.", swap=("(bias - norm.running_mean)", "(bias + norm.running_mean)"))
mistake("the convolution's bias is forgotten", "The bias goes through the BatchNorm with everything else.",
        swap=("(bias - norm.running_mean)", "(-norm.running_mean)"))
mistake("the running mean is not scaled", "BatchNorm subtracts the mean first and scales what is left: the factor meets both.",
        swap=("(bias - norm.running_mean) * scale", "bias * scale - norm.running_mean"))
mistake("the bias is not scaled at all", "The factor s multiplies b − μ as well as the weight.",
        swap=("(bias - norm.running_mean) * scale", "(bias - norm.running_mean)"))
mistake("the bias stays as it was", "The norm moves every output by the same amount: that belongs into the bias.",
        swap=("(bias - norm.running_mean) * scale + norm.bias.data", "bias.copy()"))
mistake("the mean is subtracted from the weight too", "Multiply out: the mean stands beside w ⋆ x, not inside it. Only the bias feels it.",
        swap=("weight * scale[:, None, None, None]", "(weight - norm.running_mean[:, None, None, None]) * scale[:, None, None, None]"))
mistake("the factor meets the last axis", "NumPy aligns shapes at the end, so (O,) meets the kernel's columns. scale[:, None, None, None] has shape (O, 1, 1, 1).",
        swap=("weight * scale[:, None, None, None]", "weight * scale"))
mistake("the convolution's bias is not scaled", "BatchNorm scales what it gets, and the bias is a part of that.",
        swap=("(bias - norm.running_mean) * scale", "bias - norm.running_mean * scale"))
mistake("the norm's bias is scaled too", "β comes last: nothing scales it.",
        swap=("(bias - norm.running_mean) * scale + norm.bias.data", "(bias - norm.running_mean + norm.bias.data) * scale"))
mistake("the input channels are scaled", "BatchNorm sees the *output* channels: they are the first axis of the weight.",
        swap=("weight * scale[:, None, None, None]", "(weight * scale[:, None, None] if len(scale) == weight.shape[1] else weight * scale[:, None, None, None])"))
mistake("the weight is not scaled", "The factor s multiplies the weight as well as the bias.",
        swap=("weight * scale[:, None, None, None]", "weight * 1"))

# %% [markdown] hints="folded_norm"
# Write BatchNorm's formula down, put w ⋆ x + b into it, and multiply out. What stands in front of x is the new weight. The rest is the new bias.
#
# ---
#
# s = γ / √(σ² + ε), one number for each output channel. weight · s along the first axis. (b − μ) · s + β.
#
# ---
#
# ```python
# scale = ... / np.sqrt(...)
# return weight * scale[:, None, None, None], (... - ...) * scale + ...
# ```

# %% [markdown]
# The trained VGG, once more without its eight norms.

# %%
def without_norms(model):
    """Return a plain vgg_small that computes what a trained VGG-11 with BatchNorm does."""
    plain = vgg_small(11, 2, Hollow(), batch_norm=False, width=16)
    layers = model[0].layers  # a norm stands right behind each convolution
    pairs = [(layers[k - 1], norm) for k, norm in enumerate(layers) if isinstance(norm, BatchNorm2d)]
    convs = [layer for layer in plain[0].layers if isinstance(layer, Conv2d)]
    for new, (old, norm) in zip(convs, pairs, strict=True):
        new.weight.data[...], new.bias.data[...] = folded_norm(old.weight.data, old.bias.data, norm)
    plain[2].load_state_dict(model[2].state_dict())
    return plain.eval()

# %%
from time import perf_counter

plain = without_norms(model)
seconds, logits = {"with norms": [], "folded": []}, {}
with no_memory():
    for _ in range(3):
        for name, one in [("with norms", model), ("folded", plain)]:
            start = perf_counter()
            logits[name] = one(new)
            seconds[name].append(perf_counter() - start)
difference = abs(logits["with norms"] - logits["folded"]).max()
print(f"the logits of 1,000 animals differ by {difference:.0e} at most; "
      f"{min(seconds['with norms']):.2f} s become {min(seconds['folded']):.2f} s")

# %% tags=["nbval-check-output"]
print("equal logits, to 1e-3:", difference < 1e-3)

# %% [markdown]
# BatchNorm helps to *find* the weights. A network without it could have held them all along. Do not expect much time back: a norm touches each number once or twice, the convolution before it reads a whole window of all maps for each.
#
# ## Against PyTorch
#
# The same network, built from the same list. The names agree, so the `state_dict` loads as it is.

# %%
try:
    import torch
except ImportError:
    torch = None


def torch_vgg(depth, classes, width):
    """Write vgg_small in PyTorch."""
    from torch import nn

    layers, channels = [], 3
    for entry in VGG_CONFIGS[depth]:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        out = entry * width // 64
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    model = nn.Sequential()
    for name, part in [("features", nn.Sequential(*layers)), ("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()),
                       ("classifier", nn.Linear(channels, classes))]:
        model.add_module(name, part)
    return model

# %% [markdown]
# Same weights, same batch: the first loss has to agree. Then both go forward and backward in turns, each with a single thread, since two libraries in one process disturb each other. The last line is from the recorded run of
# `python -m benchmarks`, at full width, which gives each a process of its own.

# %%
from nyang_edu.training.versus import recorded_ratio, versus_torch

if torch is None:
    print("PyTorch is not installed: nothing to compare with")
else:
    ours = vgg_small(11, 2, np.random.default_rng(0), width=32)
    difference, mine, other = versus_torch(ours, torch_vgg(11, 2, 32), new[:64], kinds[3000:3064])
    assert difference < 1e-4, f"the first losses differ by {difference:.1e}"
    print(f"the first losses agree to 1e-4: {difference < 1e-4}")
    print(f"64 images, one thread: {mine:.2f} s here, {other:.2f} s in PyTorch, ratio {mine / other:.1f}")
print(recorded_ratio("vgg11_bn"))

# %% [markdown]
# ## Recap
#
# - A stack of 3 × 3 sees what one large window sees, with fewer weights and more bends. Without the bends it *is* one window.
# - An architecture can be a list. One builder turns it into AlexNet's successors, with and without BatchNorm.
# - VGG's weights are in its first dense layer, its time in the convolutions.
# - In a deep plain network all samples become alike. BatchNorm keeps them apart, and can be folded away after training.
#
# `finish` exports the builders into `nyang_edu/model/zoo/alexnet.py` and `vgg.py`, `NamedFlow` into `model/named_flow.py`, `folded_norm` into `model/folding.py`, and `grad_cam` into `evaluation/grad_cam.py`.
#
# `python -m benchmarks floors vgg` trains VGG-11 at its full width.
#
# **References.** Krizhevsky, Sutskever, Hinton, *ImageNet classification with deep convolutional neural networks*, NIPS 2012, section 3. Krizhevsky, *One weird trick for parallelizing convolutional neural networks*, 2014. Simonyan, Zisserman, *Very deep
# convolutional networks for large-scale image recognition*, ICLR 2015, sections 2 and 3. Daneshmand et al., *Batch normalization provably avoids rank collapse for randomly initialised deep networks*, NeurIPS 2020. Selvaraju et al., *Grad-CAM*, ICCV 2017, section 3.

# %%
finish("15_vgg")
