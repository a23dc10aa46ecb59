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
# # 14 · LeNet-5
#
# **You have** every part of a convolutional network (03 to 10), a loader that augments (11), schedules (12), and
# `nyang_train` (13).
#
# **You will build** LeNet-5, the network that read cheques in the 1990s. You count what each of its layers costs, look inside it, and
# measure what it does when a digit moves.
#
# **It unlocks** the pattern of every chapter from here on: stages of convolution and pooling, then a classifier, put together by a
# builder of a few lines.
#
# Time: about 100 minutes. Seven exercises, ★ and ★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu import CrossEntropyLoss, SGD, no_memory
from nyang_edu.course import check, finish, hint
from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.data.transforms import NyangTransform, load_albumentations
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, PALE, draw_images, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: a network that expects every stroke at its place
#
# The network of chapter 06 has weights of its own for every pixel. It is trained here once more, with the tools of
# chapter 13. The 1,000 held-out digits are those of chapter 06. Of the other 4,000, a twentieth is for validation.

# %% tags=["nbval-check-output"]
from nyang_edu import Flatten, Linear, NyangFlow, ReLU
from nyang_edu.utility.init import init_for

images, labels = load_digits_5k()
order = np.random.default_rng(0).permutation(5000)
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
rest = np.random.default_rng(1).permutation(np.setdiff1d(order, test))
valid, train = rest[:200], rest[200:]
A = load_albumentations()


def as_it_is():
    return [A.NoOp()]


def loader(places, steps, batch_size=32, shuffle=False):
    data = ArrayDataset(images[places], labels[places], NyangTransform(steps, mean=0.13, std=0.31))
    return NyangDataLoader(data, batch_size, shuffle=shuffle, workers=1, seed=0)


def fit(model, steps, epochs, lr=0.03):
    batches = loader(train, steps, shuffle=True)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-3)
    cosine = CosineDecay(optimizer, epochs * len(batches) - 100, every="step")
    schedule = WarmUp(optimizer, 100, cosine, every="step")
    return nyang_train(model, optimizer, CrossEntropyLoss(), batches, loader(valid, as_it_is, 200), epochs,
                       scheduler=schedule, plot=False, progress=False)


def accuracy(model, images):
    with no_memory():
        x = ((images.astype(np.float32) / 255 - 0.13) / 0.31)[:, None]
        return float(np.mean(model(x).argmax(axis=1) == labels[test]))


rng = np.random.default_rng(0)
mlp = NyangFlow(Flatten(), Linear(784, 128, rng=rng, init=init_for(ReLU)), ReLU(),
                Linear(128, 10, rng=rng, init=init_for(None)))
fit(mlp, as_it_is, 8)
print(f"{len(train):,} digits to learn from, {len(valid)} to validate, {len(test):,} held out")
print("the network of chapter 06 reads at least 93%:", accuracy(mlp, images[test]) >= 0.93)

# %% [markdown]
# What does it do when a digit stands elsewhere? Chapter 08 rolled the pictures: what left on the right came back on the left. On
# paper nothing comes back. So build the instrument first.
#
# ### Exercise 1 ★★: move a picture
#
# Down by `rows`, to the right by `columns`. Negative numbers move up and left. What leaves is gone, and
# what enters is paper: 0.

# %% exercise="shifted" points=2 stars=2
def shifted(images, rows, columns):
    """Move images over paper: out[…, r + rows, c + columns] = images[…, r, c], 0 elsewhere.

    Args:
        images: (…, H, W), of any dtype.
        rows, columns: whole numbers of any sign and size.

    Returns:
        a fresh array of the images' shape and dtype.
    """
    ### BEGIN SOLUTION a frame of zeros around the images, and a window cut out of it
    H, W = images.shape[-2:]
    R, C = abs(rows), abs(columns)
    framed = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(R, R), (C, C)])
    return framed[..., R - rows:R - rows + H, C - columns:C - columns + W].copy()
    ### END SOLUTION

# %%
check(shifted)

# %% probe="shifted"
def probe(shifted, rng):
    N, H, W = rng.permutation([2, 5, 6])
    H, W = H + 2, W + 3
    images = rng.integers(1, 256, (N, H, W)).astype(np.uint8)
    r, c = int(rng.integers(1, 3)), int(rng.integers(3, 5))  # below H and W, and not equal
    yield "down", shifted(images, r, 0)
    yield "to the right", shifted(images, 0, c)
    yield "up and to the right", shifted(images, -r, c)
    yield "down and to the left", shifted(images, r, -c)
    still = shifted(images, 0, 0)
    yield "not moved", still
    yield "not moved: is it a fresh array", not np.shares_memory(still, images)
    deep = rng.normal(size=(2, 3, H, W)).astype(np.float32)
    yield "images (N, C, H, W)", shifted(deep, r, c)
    yield "one image (H, W)", shifted(images[0], -r, -c)
    yield "moved out of sight", shifted(images, int(H) + 2, 0)
    yield "moved out of sight to the left", shifted(images, 0, -int(W))

# %% mistakes="shifted"
@mistake("what leaves on one side enters on the other", "np.roll turns the picture around like a cylinder. Paper has an end: what enters "
         "is 0.")
def shifted(images, rows, columns):
    return np.roll(images, (rows, columns), axis=(-2, -1))

@mistake("the picture moves the other way", "Rows are counted from the top. Moving down by 2 means that what stood in row 0 stands in row "
         "2.")
def shifted(images, rows, columns):
    return reference(images, -rows, -columns)

@mistake("rows and columns are swapped", "The first number moves along the axis of the rows, the second along that of the columns, as in the "
         "shape (…, H, W).")
def shifted(images, rows, columns):
    return reference(images, columns, rows)

@mistake("the wrong axes are moved", "The picture's rows and columns are the last two axes, however many stand in front of them. "
         "Count from the end: -2 and -1.")
def shifted(images, rows, columns):
    if images.ndim < 3:
        return reference(images, rows, columns)
    return np.moveaxis(reference(np.moveaxis(images, (0, 1), (-2, -1)), rows, columns), (-2, -1), (0, 1))

@mistake("what enters copies the edge", "The pixels that come in are paper, so they are 0, whatever stood at the edge.")
def shifted(images, rows, columns):
    H, W = images.shape[-2:]
    r = np.clip(np.arange(H) - rows, 0, H - 1)
    c = np.clip(np.arange(W) - columns, 0, W - 1)
    return images[..., r[:, None], c]

@mistake("the result is float64", "np.zeros makes float64 unless told otherwise. np.zeros_like(images) keeps the images' dtype.")
def shifted(images, rows, columns):
    return reference(images, rows, columns).astype(float)

@mistake("without a move the images themselves come back", "Whoever writes into the result would write into the data. Return a "
         "copy, always.")
def shifted(images, rows, columns):
    return reference(images, rows, columns) if rows or columns else images

@mistake("the sign is ignored", "-2 moves up, or to the left. abs() alone throws that away.")
def shifted(images, rows, columns):
    return reference(images, abs(rows), abs(columns))

@mistake("np.roll turns axes 1 and 2", "np.roll lets what leaves enter again on the other side; paper has an end. And rows and columns are the last two axes, -2 and -1.")
def shifted(images, rows, columns):
    return np.roll(images, (rows, columns), axis=(1, 2))

@mistake("what is wiped is always on top and on the left", "A move up leaves bare paper at the bottom, a move to the left on the right. And a slice :-2 takes "
         "all but the last two. Ask for the sign first.")
def shifted(images, rows, columns):
    out = np.roll(images, (rows, columns), axis=(-2, -1))
    out[..., :rows, :] = 0
    out[..., :columns] = 0
    return out

@mistake("what enters is 255", "In these arrays paper is 0 and ink is large. draw_images shows 0 as white.")
def shifted(images, rows, columns):
    H, W = images.shape[-2:]
    R, C = abs(rows), abs(columns)
    framed = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(R, R), (C, C)], constant_values=255)
    return framed[..., R - rows:R - rows + H, C - columns:C - columns + W]

@mistake("a slice ends at -0", "Where nothing is left out, -rows is 0, and :0 is empty. H - rows says the same end, and works for 0 too.")
def shifted(images, rows, columns):
    out = np.zeros_like(images)
    out[..., rows:, columns:] = images[..., :-rows, :-columns]
    return out

@mistake("moves up and to the left are not foreseen", "With negative rows the slice rows: begins near the end, and H - rows is larger than H. Such a move copies other parts.")
def shifted(images, rows, columns):
    out, (H, W) = np.zeros_like(images), images.shape[-2:]
    out[..., rows:, columns:] = images[..., :H - rows, :W - columns]
    return out

@mistake("a move out of sight is not foreseen", "Moved by H or more, nothing is left to copy, and the ends of the slices pass each other. Let them stop at 0, or return paper at once.")
def shifted(images, rows, columns):
    out, (H, W) = np.zeros_like(images), images.shape[-2:]
    out[..., max(0, rows):H + min(0, rows), max(0, columns):W + min(0, columns)] = \
        images[..., max(0, -rows):H - max(0, rows), max(0, -columns):W - max(0, columns)]
    return out

@mistake("a move ends at the last pixel", "A picture moved by H or more is gone, all of it. Nothing of it stops at the edge.")
def shifted(images, rows, columns):
    H, W = images.shape[-2:]
    return reference(images, int(np.clip(rows, 1 - H, H - 1)), int(np.clip(columns, 1 - W, W - 1)))

@mistake("one image is expected", "Any number of axes may stand in front: H, W = images.shape[-2:], and images[..., rows, columns].")
def shifted(images, rows, columns):
    H, W = images.shape
    return reference(images, rows, columns)

@mistake("three axes are expected", "Any number of axes may stand in front: H, W = images.shape[-2:], and images[..., rows, columns].")
def shifted(images, rows, columns):
    N, H, W = images.shape
    return reference(images, rows, columns)

@mistake("the frame is made for three axes", "np.pad wants a pair for every axis: (0, 0) for each in front, however many there are.")
def shifted(images, rows, columns):
    np.pad(images, [(0, 0), (abs(rows), abs(rows)), (abs(columns), abs(columns))])
    return reference(images, rows, columns)

@mistake("the frame lies around every axis", "One number in np.pad frames all axes, and the images in front become more. Give a pair for each axis, (0, 0) for those in front.")
def shifted(images, rows, columns):
    H, W = images.shape[-2:]
    R = max(abs(rows), abs(columns))
    framed = np.pad(images, R)
    return framed[..., R - rows:R - rows + H, R - columns:R - columns + W]

@mistake("the window begins at rows and columns", "In a frame of R rows the unmoved window begins at R. To move the picture down, the window goes up: R − rows.")
def shifted(images, rows, columns):
    H, W = images.shape[-2:]
    R, C = abs(rows), abs(columns)
    framed = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(R, R), (C, C)])
    return framed[..., rows:rows + H, columns:columns + W]

# %% [markdown] hints="shifted"
# Two ways lead there. Copy a part of the old array into a part of a new one of zeros. Or lay a frame of zeros around the images, and
# cut a window of the old size out of it.
#
# ---
#
# The second way has no special cases. With a frame of R = |rows| above and below, the picture's first row is row R of the
# frame. A window that begins at R − rows shows everything moved down by rows.
#
# ---
#
# ```python
# H, W = images.shape[-2:]
# R, C = abs(rows), abs(columns)
# framed = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(..., ...), (..., ...)])
# return framed[..., R - rows:..., ...:...].copy()
# ```

# %%
AROUND = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def curve(model):
    """Accuracy on the held-out digits, moved by 0 … 5 pixels; the mean of four directions."""
    return [np.mean([accuracy(model, shifted(images[test], s * r, s * c)) for r, c in AROUND]) for s in range(6)]


mlp_curve = curve(mlp)
fig, axes = plt.subplots(1, 6, figsize=(9, 2))
for s, ax in enumerate(axes):
    draw_images([ax], [shifted(images[3800], 0, s)], [f"by {s}: {mlp_curve[s]:.0%}"])
    ax.axvline(13.5, color=ORANGE, lw=1)
plt.show()

# %% [markdown]
# Each title is the share of the 1,000 held-out digits that is read when all of them are moved so far: up, down, left or right, on average. You would hardly
# notice three pixels. Keep these numbers: they are to be beaten.
#
# ## Idea: one stroke, moved by one pixel
#
# The same stroke twice, one pixel apart. A kernel that answers to vertical edges, then ReLU, then max pooling over windows of 2 × 2.

# %% tags=["nbval-check-output"]
from nyang_edu import MaxPool2d
from nyang_edu.model.conv import conv2d_forward

stroke = np.zeros((2, 1, 6, 8), np.float32)
stroke[0, 0, 1:5, 3], stroke[1, 0, 1:5, 4] = 1, 1
maps = np.maximum(conv2d_forward(stroke, np.array([[[[-1, 1]]]], np.float32), padding=(0, 0)), 0)[..., :6]
pooled = MaxPool2d(2)(maps)

fig, axes = plt.subplots(2, 3, figsize=(9, 4.2), width_ratios=[8, 6, 3])
for row, name in enumerate(["stroke", "one pixel\nfurther"]):
    for ax, one, title in zip(axes[row], (stroke, maps, pooled), ("picture", "edge map", "pooled")):
        draw_matrix(ax, one[row, 0], title if row == 0 else "", highlight=one[row, 0] > 0)
    axes[row, 0].text(-0.3, 3, name, ha="right", va="center")
plt.show()
for name, one in [("picture", stroke), ("edge map", maps), ("pooled map", pooled)]:
    print(f"{name}: {int((one[0] != one[1]).sum())} of {one[0].size} numbers differ")

# %% [markdown]
# The edge map moved with the stroke: a convolution answers the same, one place further. It is *equivariant*. The pooled map did not change at all,
# because both answers fall into one window. One pixel more, and they would not. So pooling buys a *little* invariance, and two
# poolings buy more. That is the plan of LeNet-5.
#
# ## The network of 1998
#
# LeCun, Bottou, Bengio and Haffner called convolutions C, subsamplings S, and dense layers F. The numbers count the layers.

# %%
fig, ax = plt.subplots(figsize=(11, 2.9))
stages = [("input", 1, 28), ("C1", 6, 28), ("S2", 6, 14), ("C3", 16, 10), ("S4", 16, 5)]
for place, (name, channels, side) in enumerate(stages):
    for k in reversed(range(channels)):
        ax.add_patch(plt.Rectangle((place * 56 + 1.6 * k, 2 * k - side / 2 - channels), side, side,
                                   facecolor=PALE[BLUE if name[0] == "C" else GREY], edgecolor=BLUE, lw=0.7))
    ax.text(place * 56 + 10, -40, f"{name}\n{channels} × {side} × {side}", ha="center", va="top")
for place, (name, size) in enumerate([("C5", 120), ("F6", 84), ("output", 10)]):
    ax.add_patch(plt.Rectangle((285 + 30 * place, -size / 4), 6, size / 2, facecolor=PALE[ORANGE], edgecolor=ORANGE))
    ax.text(288 + 30 * place, -40, f"{name}\n{size}", ha="center", va="top")
ax.set(xlim=(-10, 360), ylim=(-58, 34), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# Maps become smaller and more numerous: less *where*, more *what*. C1 looks for strokes, C3 for what strokes form together. From C5 on
# there are no places left, only features.
#
# What is written today under this name differs from the paper in four places. S2 and S4 were averages with a weight and a bias of
# their own; now they take the maximum. The squashing function was a scaled tanh; now it is ReLU. The output compared F6 with drawn
# patterns of the digits; now it is a `Linear`. And each map of C3 saw only some maps of S2 (the paper's Table I): ours
# sees all six.

# %% tags=["nbval-check-output"]
connected = 6 * 3 + 9 * 4 + 1 * 6  # six maps saw 3 maps of S2, nine saw 4, the last saw all 6
print(f"C3 in the paper: {connected} of {16 * 6} pairs connected, {connected * 25 + 16:,} parameters")
print(f"C3 with all pairs: {16 * 6 * 25 + 16:,} parameters")

# %% [markdown]
# ## Shapes
#
# The sizes follow from chapters 08 and 09. A convolution of kernel $K$ and padding $P$, then windows of 2 at stride 2:
#
# $$OH = H + 2P - (K - 1), \qquad H_{\text{pooled}} = \left\lfloor \frac{OH}{2} \right\rfloor .$$
#
# The paper's input was 32 × 32, the digit in its middle, so that strokes at the rim reach the middle of a window. Our digits are 28 × 28; a
# padding of 2 in C1 adds the same rim. C3 has no padding in either case.
#
# ### Exercise 2 ★: predict
#
# The sides of the maps, stage by stage, and how many numbers reach C5. Work it out for 28 with padding 2 on paper first. The drawing
# above tells whether you are right.

# %% exercise="lenet_shapes" points=1 stars=1 reveal=false
def lenet_shapes(size, padding):
    """Predict the sides of LeNet-5's maps for images of size × size.

    Args:
        size: height and width of the image.
        padding: of C1; C3 has none.

    Returns:
        five ints: the sides after C1, S2, C3 and S4, and the number of features after Flatten.
    """
    ### BEGIN SOLUTION two convolutions of 5 × 5, two poolings of 2 × 2, 16 maps at the end
    c1 = size + 2 * padding - 4
    s2 = c1 // 2
    c3 = s2 - 4
    s4 = c3 // 2
    return c1, s2, c3, s4, 16 * s4**2
    ### END SOLUTION

# %%
check(lenet_shapes)

# %% probe="lenet_shapes"
def probe(lenet_shapes, rng):
    padding = int(rng.choice([1, 3]))  # with 2, a padded C3 would keep its size
    for kind, size in (("odd", 4 * rng.integers(8, 13) + 1), ("even", 4 * rng.integers(8, 13) + 2 * padding)):
        answer = lenet_shapes(int(size), padding)
        for name, value in zip(("C1", "S2", "C3", "S4", "features"), answer, strict=True):
            yield f"{name} ({kind} size)", float(value)

# %% mistakes="lenet_shapes"
mistake("the padding is added on one side only", "There is a rim on the left and one on the right, and above and below.",
        swap=("size + 2 * padding - 4", "size + padding - 4"))
mistake("a 5 × 5 kernel takes 5 away", "A window that is as large as the image still fits once: of K pixels, K − 1 are lost.",
        swap=("size + 2 * padding - 4", "size + 2 * padding - 5"))
mistake("C3 is padded too", "Only C1 has a padding. C3 loses four pixels again.", swap=("c3 = s2 - 4", "c3 = s2 + 2 * padding - 4"))
mistake("C3 keeps the size of its maps", "C3 has a kernel of 5 × 5 too, and no padding: windows must lie inside its map.",
        swap=("c3 = s2 - 4", "c3 = s2"))
mistake("pooling rounds up", "A window of 2 that hangs over the edge is not counted (09): half of 29 is 14.",
        swap=("s2 = c1 // 2", "s2 = -(-c1 // 2)"))
mistake("pooling moves by one pixel", "MaxPool2d(2) has a stride of 2, as wide as its window: the sides are halved.",
        swap=("s2 = c1 // 2", "s2 = c1 - 1"))
mistake("the features are those of one map", "Flatten joins all 16 maps of S4.", swap=("16 * s4**2", "s4**2"))
mistake("the side is not squared", "A map has as many rows as columns, and Flatten keeps every pixel.",
        swap=("16 * s4**2", "16 * s4"))
mistake("six maps reach Flatten", "S2 has 6 maps. C3 makes 16 of them.", swap=("16 * s4**2", "6 * s4**2"))

mistake("both poolings move by one pixel", "MaxPool2d(2) has a stride of 2, as wide as its window: the sides are halved.",
        swap=("s2 = c1 // 2\n    c3 = s2 - 4\n    s4 = c3 // 2", "s2 = c1 - 1\n    c3 = s2 - 4\n    s4 = c3 - 1"))
mistake("the padding is forgotten", "The image gets a rim of `padding` pixels on each side before C1 looks at it.",
        swap=("size + 2 * padding - 4", "size - 4"))
mistake("C1 always keeps the size of the image", "That holds for a padding of 2 only, half of 5 rounded down. Here the padding is an argument.",
        swap=("size + 2 * padding - 4", "size"))
mistake("the kernels are 3 × 3", "LeNet-5 looks through windows of 5 × 5: each convolution loses four pixels.",
        swap=("c1 = size + 2 * padding - 4\n    s2 = c1 // 2\n    c3 = s2 - 4", "c1 = size + 2 * padding - 2\n    s2 = c1 // 2\n    c3 = s2 - 2"))
mistake("C3 loses two pixels", "A window of 5 × 5 has its middle two pixels away from either rim: two are lost on each side.",
        swap=("c3 = s2 - 4", "c3 = s2 - 2"))
mistake("C3 loses five pixels", "A window that is as large as the image still fits once: of K pixels, K − 1 are lost.",
        swap=("c3 = s2 - 4", "c3 = s2 - 5"))
mistake("the half of an odd side is kept as a fraction", "No map has half a pixel. / divides, // rounds down.",
        swap=("s2 = c1 // 2", "s2 = c1 / 2"))
mistake("a window is taken away before halving", "(H − 2) / 2 leaves out the + 1 behind it: the first window counts too.",
        swap=("s2 = c1 // 2\n    c3 = s2 - 4\n    s4 = c3 // 2", "s2 = (c1 - 2) // 2\n    c3 = s2 - 4\n    s4 = (c3 - 2) // 2"))
mistake("the sizes are always those of a digit", "28, 14, 10, 5 and 400 belong to size 28 with padding 2. Work with the arguments.",
        swap=("return c1, s2, c3, s4, 16 * s4**2", "return 28, 14, 10, 5, 400"))
mistake("the features are always 400", "16 · 5 · 5 belongs to maps of 5 × 5. Take the side that you have worked out.", swap=("16 * s4**2", "400"))
mistake("the features are those behind C5", "120 is what C5 returns. Asked for is what reaches it: all that Flatten joins.", swap=("16 * s4**2", "120"))
mistake("the features are those in front of S4", "Flatten stands behind S4, and joins its maps.", swap=("16 * s4**2", "16 * c3**2"))
mistake("the maps of both stages are multiplied", "C3 has joined the 6 maps of S2 already: 16 maps are left, and no others.", swap=("16 * s4**2", "6 * 16 * s4**2"))
mistake("the features are left out", "Five numbers are asked for. The last is how many Flatten makes of the 16 maps.",
        swap=("return c1, s2, c3, s4, 16 * s4**2", "return c1, s2, c3, s4"))

# %% [markdown] hints="lenet_shapes"
# Go through the stages one by one, with a pencil. Each needs only the side before it.
#
# ---
#
# C1: a kernel of 5 takes 4 away, a padding of P adds 2·P. S2: half of it, rounded down. C3 takes 4 away. S4: half again.
#
# ---
#
# ```python
# c1 = size + ... - ...
# s2 = c1 // ...
# c3 = ...
# s4 = ...
# return c1, s2, c3, s4, ... * s4 ** ...
# ```

# %% [markdown]
# ## Build
#
# | function | returns |
# |---|---|
# | `lenet_stage(in_channels, out_channels, padding)` | a list: convolution, activation, pooling |
# | `lenet5(num_classes, in_channels, size)` | a `NyangFlow`, (N, in_channels, size, size) → logits (N, num_classes) |
# | `lenet_cats_dogs(num_classes, size)` | the same plan, wider, for photographs (N, 3, size, size) |
#
# All three take `rng`, and every layer draws its first weights from that one generator, in order. Then one seed makes one model.
#
# ### Exercise 3 ★★: one stage
#
# With `classic=True` the stage is the paper's: tanh and average. The first weights should suit the activation that follows
# (04): `init_for` knows which.

# %%
#| default_exp model.zoo.lenet
#| export
"""LeNet-5: two stages of convolution and pooling, then three dense layers."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.activation import ReLU, Tanh
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.pool import AvgPool2d, MaxPool2d
from nyang_edu.utility.init import init_for

# %% exercise="lenet_stage" points=2 stars=2
#| export
def lenet_stage(in_channels, out_channels, padding=0, *, classic=False, rng=None):
    """List the layers of one stage: 5 × 5 convolution, activation, 2 × 2 pooling.

    Args:
        in_channels, out_channels, padding: of the convolution.
        classic: tanh and average pooling as in 1998, instead of ReLU and maximum.
        rng: np.random.Generator for the first weights, drawn as init_for(activation) says.

    Returns:
        a list of three layers: (N, in_channels, H, W) → (N, out_channels, OH, OW),
        with OH = ⌊(H + 2·padding − 4) / 2⌋.
    """
    activation, pool = (Tanh, AvgPool2d) if classic else (ReLU, MaxPool2d)
    ### BEGIN SOLUTION the convolution with its settings; an activation; a pooling
    conv = Conv2d(in_channels, out_channels, 5, padding=padding, rng=rng, init=init_for(activation))
    return [conv, activation(), pool(2)]
    ### END SOLUTION

# %%
check(lenet_stage)

# %% probe="lenet_stage"
import numpy as np

from nyang_edu.model.flow import NyangFlow


def filled(model, rng):
    """Replace all parameters by drawn float64 numbers, so that first weights do not matter."""
    for one in model.to(np.float64).parameters():
        one.data[...] = rng.normal(0, one.data[0].size ** -0.5, one.data.shape)
    return model


def probe(lenet_stage, rng):
    I, O, padding = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.integers(1, 3))
    x = rng.normal(size=(2, I, 11, 13))
    for kind in (False, True):
        era = "classic" if kind else "modern"
        layers = lenet_stage(I, O, padding, classic=kind, rng=np.random.default_rng(1))
        flow = NyangFlow(*layers)
        yield f"{era}: number of layers", len(layers)
        yield f"{era}: names in state_dict", " ".join(flow.state_dict())
        yield f"{era}: number of parameters", sum(one.data.size for one in flow.parameters())
        out = filled(flow, rng)(x)
        yield f"{era}: out", out
        yield f"{era}: dx", flow.backward(rng.normal(size=out.shape))
        wide = lenet_stage(8, 16, classic=kind, rng=np.random.default_rng(2))
        spread = wide[0].weight.data.std() * 10  # He's rule: √(2 / 200)
        yield f"{era}: spread of the first weights, in units of He's", round(float(spread), 1)
    plain = NyangFlow(*lenet_stage(I, O, rng=np.random.default_rng(1)))
    yield "out without padding", filled(plain, rng)(x)
    one, two, other = (lenet_stage(2, 3, rng=np.random.default_rng(s))[0].weight.data for s in (3, 3, 4))
    yield "equal seeds make equal weights", bool(np.array_equal(one, two))
    yield "another seed makes other weights", not np.array_equal(one, other)

# %% mistakes="lenet_stage"
mistake("the padding is not handed on", "The argument is there, but the convolution does not get it: padding=padding.",
        swap=("5, padding=padding, rng=rng", "5, rng=rng"))
mistake("the padding is always 2", "2 is right for C1 only. C3 has none, so take the argument.",
        swap=("padding=padding, rng", "padding=2, rng"))
mistake("the activation is always ReLU", "classic asks for Tanh. The line above the hole has chosen already: use its names.",
        swap=("conv, activation()", "conv, ReLU()"))
mistake("the pooling is always the maximum", "classic asks for the average. The line above the hole has chosen already: use its names.",
        swap=("pool(2)]", "MaxPool2d(2)]"))
mistake("the pooling stands before the activation", "The order of the figure is convolution, activation, pooling. The mean of tanhs is not "
        "the tanh of the mean.", swap=("[conv, activation(), pool(2)]", "[conv, pool(2), activation()]"))
mistake("the first weights do not suit the activation", "Without init a convolution draws by He's rule, which is made for ReLU. init_for("
        "activation) picks the rule for what follows.", swap=(", init=init_for(activation)", ""))
mistake("the generator is not handed on", "Without rng the layer draws from a generator of its own, and no seed brings the model back.",
        swap=("rng=rng, ", ""))
mistake("the generator is always the same", "A seed fixed inside gives every stage, and every model, the same numbers. Hand on the rng that "
        "came in.", swap=("rng=rng, ", "rng=np.random.default_rng(0), "))
mistake("the kernel is 3 × 3", "LeNet-5 looks through windows of 5 × 5.", swap=("out_channels, 5,", "out_channels, 3,"))
mistake("the pooling moves by one pixel", "Windows of 2 at stride 2 halve the sides. MaxPool2d(2) alone has that stride.",
        swap=("pool(2)]", "pool(2, 1)]"))

mistake("the first weights are always Xavier's", "init_for(None) is for a layer that nothing follows. Here the activation follows: init_for(activation).",
        swap=("init=init_for(activation)", "init=init_for(None)"))
mistake("classic is ignored", "classic asks for Tanh and the average. The line above the hole has chosen already: use its names.",
        swap=("    conv = Conv2d(", "    activation, pool = ReLU, MaxPool2d\n    conv = Conv2d("))
mistake("the padding is taken for the stride", "The fourth argument of Conv2d is stride. Write padding=padding.",
        swap=("5, padding=padding, rng", "5, padding, rng"))
mistake("the padding goes to the pooling", "The convolution is padded. The pooling gets its window only.",
        swap=("5, padding=padding, rng=rng, init=init_for(activation))\n    return [conv, activation(), pool(2)]",
              "5, rng=rng, init=init_for(activation))\n    return [conv, activation(), pool(2, padding=padding)]"))
mistake("the pooling is padded", "Windows of 2 at stride 2, without a rim.", swap=("pool(2)]", "pool(2, 2, 1)]"))
mistake("the pooling looks at 3 × 3", "A subsampling of LeNet-5 has windows of 2 × 2.", swap=("pool(2)]", "pool(3, 2)]"))
mistake("the window sizes are exchanged", "The convolution looks at 5 × 5, the pooling at 2 × 2.",
        swap=("out_channels, 5, padding=padding, rng=rng, init=init_for(activation))\n    return [conv, activation(), pool(2)]",
              "out_channels, 2, padding=padding, rng=rng, init=init_for(activation))\n    return [conv, activation(), pool(5)]"))
mistake("the convolution halves the maps already", "The convolution visits every place, stride 1. Halving is the pooling's work.",
        swap=("5, padding=padding", "5, stride=2, padding=padding"))
mistake("only two layers come back", "A stage has three: convolution, activation, pooling. A stride in the convolution is no pooling: it skips places, and the pooling looks at all.",
        swap=("[conv, activation(), pool(2)]", "[conv, pool(2)]"))
mistake("the activation stands first", "The picture goes into the convolution as it is. Convolution, activation, pooling.",
        swap=("[conv, activation(), pool(2)]", "[activation(), conv, pool(2)]"))
mistake("a class stands where a layer belongs", "ReLU is a class, ReLU() a layer: call it. The same for the pooling.",
        swap=("[conv, activation(), pool(2)]", "[conv, activation, pool(2)]"))
mistake("the channels are exchanged", "What comes in stands first: Conv2d(in_channels, out_channels, …).",
        swap=("Conv2d(in_channels, out_channels", "Conv2d(out_channels, in_channels"))
mistake("the convolution has no bias", "Nothing in a stage takes the bias's place. Leave it at its default.",
        swap=("5, padding=padding", "5, bias=False, padding=padding"))
mistake("init_for is handed on uncalled", "init_for chooses, and returns an initialiser. Give it the activation: init_for(activation).",
        swap=("init=init_for(activation)", "init=init_for"))
mistake("the stage comes back as a NyangFlow", "A flow in a flow would name its weights 0.0.weight. Return the list; the builder unpacks it.",
        swap=("return [conv, activation(), pool(2)]", "from nyang_edu.model.flow import NyangFlow\n\n    return NyangFlow(conv, activation(), pool(2))"))

# %% [markdown] hints="lenet_stage"
# Three layers in a list. Only the first has weights, so only it gets channels, padding, rng and init.
#
# ---
#
# Conv2d(in_channels, out_channels, 5, padding=…, rng=…, init=…), activation(), pool(2). The initialiser: init_for(activation).
#
# ---
#
# ```python
# conv = Conv2d(in_channels, ..., 5, padding=..., rng=..., init=init_for(...))
# return [conv, ...(), ...(2)]
# ```

# %% [markdown]
# ### Exercise 4 ★★: LeNet-5
#
# Two stages, `Flatten`, three `Linear` layers of 120, 84 and `num_classes`. An activation behind every layer but the last: the
# loss takes logits (05). The first weights of each suit what follows it, as in the stage; behind the last layer nothing follows. `NyangFlow(*one, *two, …)` unpacks the
# lists of the stages.
#
# C5 was a convolution in the paper, of 5 × 5 on maps of 5 × 5. It fits in one place only, so it is a dense layer.

# %% exercise="lenet5" points=3 stars=2
#| export
def lenet5(num_classes=10, in_channels=1, size=28, *, classic=False, rng=None):
    """Build LeNet-5: (N, in_channels, size, size) → logits (N, num_classes).

    Args:
        size: 28, padded by 2 in C1, or 32 as in the paper.
        classic: tanh and average pooling, instead of ReLU and maximum.
        rng: np.random.Generator from which every layer draws its first weights, in order.

    Returns:
        a NyangFlow of 12 layers.

    Raises:
        ValueError: for another size.

    Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document
    recognition (1998), section II.B; C3 here is connected to all maps of S2.
    """
    if size not in (28, 32):
        raise ValueError(f"lenet5 takes images of size 28 or 32, received {size}: resize them, "
                         "or use lenet_cats_dogs(size=...)")
    padding, activation = (2 if size == 28 else 0), (Tanh if classic else ReLU)
    ### BEGIN SOLUTION two stages, Flatten, then 120, 84 and num_classes
    hidden = init_for(activation)
    return NyangFlow(
        *lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)
        *lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)
        Flatten(),
        Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),
        Linear(120, 84, rng=rng, init=hidden), activation(),
        Linear(84, num_classes, rng=rng, init=init_for(None)),
    )
    ### END SOLUTION

# %%
check(lenet5)

# %% probe="lenet5"
import numpy as np


class Noted(np.random.Generator):
    """A generator that notes the shape of every draw."""

    def __init__(self, seed):
        super().__init__(np.random.PCG64(seed))
        self.drawn = []

    def normal(self, loc=0.0, scale=1.0, size=None):
        self.drawn.append(str(size))
        return super().normal(loc, scale, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        self.drawn.append(str(size))
        return super().uniform(low, high, size)


def weights_of(model):
    """The weights of all layers, from first to last."""
    return [array for name, array in model.state_dict().items() if name.endswith("weight")]


def probe(lenet5, rng):
    classes, channels = int(rng.integers(3, 8)), int(rng.integers(2, 4))
    for size, kind in ((28, False), (32, True)):
        name = f"size {size}{', classic' if kind else ''}"
        model = lenet5(classes, channels, size, classic=kind, rng=np.random.default_rng(5))
        yield f"{name}: number of layers", len(model)
        yield f"{name}: names in state_dict", " ".join(model.state_dict())
        shapes = [str(one.data.shape) for one in model.parameters()]
        yield f"{name}: shapes of the parameters", " ".join(shapes)
        x = rng.normal(size=(3, channels, size, size))
        for one in model.to(np.float64).parameters():
            one.data[...] = rng.normal(0, one.data[0].size ** -0.5, one.data.shape)
        out = model(x)
        yield f"{name}: out", out
        yield f"{name}: dx", model.backward(rng.normal(size=out.shape))
        still = sum(not one.grad.any() for one in model.parameters())
        yield f"{name}: parameters that get no gradient", still
    noted = Noted(1)
    yield "number of parameters by default", sum(one.data.size for one in lenet5(rng=noted).parameters())
    yield "shapes drawn from rng, in order", " ".join(noted.drawn)
    for kind in (False, True):
        first = weights_of(lenet5(84, classic=kind, rng=np.random.default_rng(1)))  # 84: He and Xavier differ
        for layer, place in (("C3", 1), ("C5", 2), ("F6", 3), ("the output", -1)):
            spread = first[place].std() * (first[place][0].size / 2) ** 0.5
            yield f"spread of the {'classic ' if kind else ''}first weights of {layer}, in units of He's", round(float(spread), 1)
    one, again, other = (weights_of(lenet5(rng=np.random.default_rng(seed))) for seed in (1, 1, 2))
    yield "equal seeds make equal weights", all(map(np.array_equal, one, again))
    yield "other seeds make other weights", not any(map(np.array_equal, one, other))

# %% mistakes="lenet5"
mistake("nothing stands between two dense layers", "Two Linear layers in a row are one Linear layer, as the last exercise of this chapter shows. Put an "
        "activation behind each but the last.",
        swap=("        Linear(120, 84, rng=rng, init=hidden), activation(),", "        Linear(120, 84, rng=rng, init=hidden),"))
mistake("an activation stands behind the last layer", "The loss wants logits of any sign. A ReLU would cut off all negative "
        "ones.", swap=("init=init_for(None)),", "init=init_for(None)), activation(),"))
mistake("the dense layers use ReLU in the classic network", "With classic=True the dense layers squash by tanh too. The line above the "
        "hole has chosen the activation.", swap=("init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden), activation(),",
        "init=hidden), ReLU(),\n        Linear(120, 84, rng=rng, init=hidden), ReLU(),"))
mistake("classic does not reach the stages", "lenet_stage has to be told: classic=classic, in both calls.",
        swap=("padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic, rng=rng)",
              "padding, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, rng=rng)"))
mistake("there are always ten classes", "num_classes is an argument: the last layer has as many outputs.",
        swap=("Linear(84, num_classes", "Linear(84, 10"))
mistake("there is always one input channel", "in_channels is an argument: colour pictures have three.",
        swap=("lenet_stage(in_channels, 6", "lenet_stage(1, 6"))
mistake("C1 is always padded by 2", "At size 32 the rim is part of the picture. The line above the hole has worked out the padding.",
        swap=("6, padding, classic", "6, 2, classic"))
mistake("the two dense widths are swapped", "C5 has 120 features, F6 has 84.",
        swap=("Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden), activation(),\n"
              "        Linear(84, num",
              "Linear(16 * 5 * 5, 84, rng=rng, init=hidden), activation(),\n        Linear(84, 120, rng=rng, init=hidden), activation(),\n"
              "        Linear(120, num"))
mistake("the generator does not reach the dense layers", "Every layer with weights gets rng=rng, or the model changes from run to run in spite of its "
        "seed.", swap=("120, rng=rng, init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden), activation(),\n"
                       "        Linear(84, num_classes, rng=rng, init",
                       "120, init=hidden), activation(),\n        Linear(120, 84, init=hidden), activation(),\n"
                       "        Linear(84, num_classes, init"))
mistake("the first weights of the dense layers do not suit the activation", "Linear alone draws from ±1/√fan_in, about 2.4 times too narrow for a ReLU. "
        "Hand it init_for(activation).",
        swap=("120, rng=rng, init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden)",
              "120, rng=rng), activation(),\n        Linear(120, 84, rng=rng)"))

mistake("nothing stands between C5 and F6", "Two Linear layers in a row are one Linear layer, as the last exercise of this chapter shows. Put an "
        "activation behind each but the last.", swap=("120, rng=rng, init=hidden), activation(),", "120, rng=rng, init=hidden),"))
mistake("the dense layers have no activations", "Three Linear layers in a row are one Linear layer, as the last exercise of this chapter shows. Put an "
        "activation behind each but the last.",
        swap=("120, rng=rng, init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden), activation(),",
              "120, rng=rng, init=hidden),\n        Linear(120, 84, rng=rng, init=hidden),"))
mistake("a softmax stands behind the last layer", "The loss takes logits and contains the softmax (05). A second one flattens every gradient.",
        swap=("    hidden = init_for(activation)\n    return NyangFlow(\n", "    from nyang_edu.model.activation import Softmax\n\n    hidden = init_for(activation)\n"
              "    return (lambda *layers: NyangFlow(*layers, Softmax()))(\n"))
mistake("the last first weights are those of a hidden layer", "Nothing follows the last layer: init_for(None).",
        swap=("init=init_for(None)", "init=hidden"))
mistake("the last layer has no init", "Linear alone draws from ±1/√fan_in. Nothing follows the last layer: init_for(None) says how to draw.",
        swap=("rng=rng, init=init_for(None)", "rng=rng"))
mistake("the hidden layers draw as for ReLU, always", "With classic=True a tanh follows. init_for(activation) knows which rule suits it.",
        swap=("hidden = init_for(activation)", "hidden = init_for(ReLU)"))
mistake("the hidden layers draw as if nothing followed", "An activation follows C5 and F6: init_for(activation). init_for(None) is for the last layer.",
        swap=("hidden = init_for(activation)", "hidden = init_for(None)"))
mistake("the generator does not reach the last layer", "Every layer with weights gets rng=rng, the last one as well.",
        swap=("Linear(84, num_classes, rng=rng, init", "Linear(84, num_classes, init"))
mistake("the generator does not reach the second stage", "Every layer with weights gets rng=rng, and every stage hands it on.",
        swap=("6, 16, classic=classic, rng=rng", "6, 16, classic=classic"))
mistake("the generator does not reach the stages", "Every layer with weights gets rng=rng, and every stage hands it on.",
        swap=("padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic, rng=rng)",
              "padding, classic=classic),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic)"))
mistake("the generator reaches no layer", "Every layer with weights gets rng=rng, and every stage hands it on. Otherwise no seed brings the model back.",
        swap=("    hidden = init", "    rng = None\n    hidden = init"))
mistake("the generator is always the same", "A seed fixed inside makes every model the same one, and each layer may begin the same numbers anew. Hand on the rng that came in.",
        swap=("    hidden = init", "    rng = np.random.default_rng(0)\n    hidden = init"))
mistake("the dense layers draw before the stages", "One generator is used up in the order of the calls. Build the stages first, then the dense layers: from first to last.",
        swap=("    hidden = init_for(activation)\n    return NyangFlow(\n        *lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n"
              "        *lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)\n        Flatten(),\n"
              "        Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),\n        Linear(120, 84, rng=rng, init=hidden), activation(),\n"
              "        Linear(84, num_classes, rng=rng, init=init_for(None)),",
              "    hidden = init_for(activation)\n    dense = [Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),\n"
              "             Linear(120, 84, rng=rng, init=hidden), activation(), Linear(84, num_classes, rng=rng, init=init_for(None))]\n    return NyangFlow(\n"
              "        *lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),\n        *lenet_stage(6, 16, classic=classic, rng=rng),\n        Flatten(), *dense,"))
mistake("classic does not reach the second stage", "lenet_stage has to be told: classic=classic, in both calls.",
        swap=("6, 16, classic=classic, rng=rng", "6, 16, rng=rng"))
mistake("the stages are not unpacked", "lenet_stage returns a list, and NyangFlow takes layers: a star in front unpacks it.",
        swap=("        *lenet_stage(in_channels", "        lenet_stage(in_channels"))
mistake("each stage is a flow of its own", "A flow in a flow names its weights 0.0.weight, and the state fits no plain row of layers. Unpack the lists with a star.",
        swap=("*lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic, rng=rng)",
              "NyangFlow(*lenet_stage(in_channels, 6, padding, classic=classic, rng=rng)),\n        NyangFlow(*lenet_stage(6, 16, classic=classic, rng=rng))"))
mistake("Flatten is left out", "Linear takes rows of features, and S4 gives maps. Flatten stands between them.",
        swap=("        Flatten(),\n", ""))
mistake("the second stage is made for the picture", "S2 hands on 6 maps: those come into the second stage.",
        swap=("lenet_stage(6, 16", "lenet_stage(in_channels, 16"))
mistake("C3 is padded too", "Only C1 is padded. With a rim in C3 more than 5 × 5 places are left.",
        swap=("lenet_stage(6, 16, classic", "lenet_stage(6, 16, padding, classic"))
mistake("C1 is never padded", "At size 28 the rim is missing in the picture. The line above the hole has worked out the padding: hand it on.",
        swap=("6, padding, classic", "6, classic"))
mistake("C1 is never padded, and C5 is made to fit", "Without the rim only 4 × 4 places are left. The line above the hole has worked out the padding: hand it on.",
        swap=("*lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)\n"
              "        Flatten(),\n        Linear(16 * 5 * 5,",
              "*lenet_stage(in_channels, 6, classic=classic, rng=rng),\n        *lenet_stage(6, 16, classic=classic, rng=rng),\n        Flatten(),\n        Linear(16 * 4 * 4,"))
mistake("C5 counts one map", "Flatten joins all 16 maps of 5 × 5.", swap=("16 * 5 * 5", "5 * 5"))
mistake("C5 counts one row of each map", "A map has 5 rows of 5 places.", swap=("16 * 5 * 5", "16 * 5"))
mistake("C5 counts the maps of S2", "What reaches C5 comes from S4: 16 maps of 5 × 5.", swap=("16 * 5 * 5", "6 * 14 * 14"))
mistake("the two stages' maps are exchanged", "C1 makes 6 maps, C3 makes 16: fewer places, more kinds.",
        swap=("*lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)\n        *lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)\n"
              "        Flatten(),\n        Linear(16 * 5 * 5,",
              "*lenet_stage(in_channels, 16, padding, classic=classic, rng=rng),\n        *lenet_stage(16, 6, classic=classic, rng=rng),\n        Flatten(),\n        Linear(6 * 5 * 5,"))
mistake("C3 is padded too, and C5 is made to fit", "Only C1 is padded. With a rim in C3 more than 5 × 5 places are left.",
        swap=("*lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)\n        Flatten(),\n        Linear(16 * 5 * 5,",
              "*lenet_stage(6, 16, padding, classic=classic, rng=rng),\n        Flatten(),\n        Linear(16 * 7 * 7,"))
mistake("C5 is a convolution", "So it was in the paper, and the numbers come out equal. Here it is a Linear behind Flatten, with a weight of shape (120, 400).",
        swap=("        Flatten(),\n        Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),\n",
              "        Conv2d(16, 120, 5, rng=rng, init=hidden), activation(), Flatten(),\n"))
mistake("the model is not returned", "A function without return gives None. The model has to come back: return NyangFlow(…).", swap=("return NyangFlow(", "flow = NyangFlow("))

@mistake("the layers come back as a list", "A list has no forward. Wrap the layers: NyangFlow(*layers), with a star.")
def lenet5(num_classes=10, in_channels=1, size=28, *, classic=False, rng=None):
    return reference(num_classes, in_channels, size, classic=classic, rng=rng).layers

mistake("F6 is left out", "Three dense layers: 120, 84, num_classes.",
        swap=("        Linear(120, 84, rng=rng, init=hidden), activation(),\n        Linear(84, num", "        Linear(120, num"))

# %% [markdown] hints="lenet5"
# It is the figure, from left to right, written down: stage, stage, Flatten, dense, dense, dense.
#
# ---
#
# Each stage returns a list, and a star unpacks it into the call: NyangFlow(*lenet_stage(…), *lenet_stage(…), Flatten(), …). The first Linear takes 16 · 5 · 5
# features. Each but the last is followed by activation().
#
# ---
#
# ```python
# return NyangFlow(
#     *lenet_stage(in_channels, 6, padding, classic=..., rng=...),
#     *lenet_stage(6, ..., classic=..., rng=...),
#     Flatten(),
#     Linear(16 * 5 * 5, 120, rng=..., init=...), activation(),
#     ...
#     Linear(84, ..., rng=..., init=init_for(None)),
# )
# ```

# %% [markdown]
# `summary` sends zeros through the network and notes what every layer makes of them. Do the sides agree with your prediction?

# %% tags=["nbval-check-output"]
print(lenet5(rng=np.random.default_rng(0)).summary((1, 28, 28)))

# %% [markdown]
# A dense layer is made for one number of features. Which picture would not fit? Give the network for 28 × 28 one of 32 × 32.

# %% tags=["nbval-check-output"]
try:
    lenet5(rng=np.random.default_rng(0))(np.zeros((1, 1, 32, 32), np.float32))
except ValueError as error:
    print(error)
print("your prediction:", lenet_shapes(32, 2))

# %% [markdown]
# The convolutions took the larger picture without complaint. The dense layer did not: there are 6 × 6 places now instead of 5 × 5. A pooling to a fixed
# size (09) would remove the limit; AlexNet (15) does that.
#
# ## What each layer costs
#
# Two costs, and they lie at different places. A weight is a number to store: it is counted once. In a convolution each weight is *used* at every place of the map, one multiplication with an
# addition each time: a *multiply-add*. In a dense layer a weight works once.
#
# ### Exercise 5 ★★: count
#
# For one sample. The bias is a parameter, but no multiplication. Layers without parameters cost nothing here.

# %% exercise="layer_cost" points=2 stars=2
def layer_cost(layer, out_shape):
    """Count what one layer costs for one sample.

    Args:
        layer: a Conv2d, a Linear, or a layer without parameters.
        out_shape: its output for one sample: maps (C, OH, OW) or features (O,).

    Returns:
        two ints: parameters (weights and biases), and multiply-adds.
    """
    ### BEGIN SOLUTION all parameters; each weight times the places at which it is used
    parameters = sum(one.data.size for one in layer.parameters())
    if parameters == 0:
        return 0, 0
    places = int(np.prod(out_shape[1:]))  # OH·OW; 1 behind a Linear
    return parameters, layer.weight.data.size * places
    ### END SOLUTION

# %%
check(layer_cost)

# %% probe="layer_cost"
from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.linear import Linear
from nyang_edu.model.pool import MaxPool2d


def probe(layer_cost, rng):
    I, O, K, N = (int(n) for n in rng.permutation([3, 4, 5, 6]))
    H, W = int(rng.integers(7, 10)), int(rng.integers(11, 15))
    cases = {"a convolution": Conv2d(I, O, K, rng=rng), "a convolution without bias": Conv2d(I, O, K, bias=False, rng=rng),
             "a convolution with stride 2": Conv2d(I, O, (3, 2), stride=2, rng=rng),
             "a convolution in 2 groups": Conv2d(4, 6, K, groups=2, rng=rng),
             "a Linear layer": Linear(I + 7, O, rng=rng), "a Linear layer without bias": Linear(I, O, bias=False, rng=rng),
             "a ReLU": ReLU(), "a pooling": MaxPool2d(2)}
    for name, layer in cases.items():
        if isinstance(layer, Linear):
            x = rng.normal(size=(2, layer.in_features))
        else:
            x = rng.normal(size=(2, getattr(layer, "in_channels", 3), H, W))
        out = layer(x.astype(np.float32))
        parameters, products = layer_cost(layer, out.shape[1:])
        yield f"parameters of {name}", int(parameters)
        yield f"multiply-adds of {name}", int(products)

# %% mistakes="layer_cost"
mistake("the biases are counted as multiplications", "A bias is added, not multiplied. Take the size of the weight alone.",
        swap=("layer.weight.data.size * places", "parameters * places"))
mistake("the biases are not counted as parameters", "A bias is learned and stored like a weight.",
        swap=("sum(one.data.size for one in layer.parameters())", "layer.weight.data.size if layer.parameters() else 0"))
mistake("the output channels are counted twice", "The weight's size holds the output channels already: (O, C, KH, KW). Multiply by the places of one map "
        "only.", swap=("out_shape[1:]", "out_shape"))
mistake("each weight is used once", "That is so in a Linear layer. In a convolution the kernel visits every place of the output's map.",
        swap=("layer.weight.data.size * places", "layer.weight.data.size"))
mistake("the maps are taken for square", "A map has OH · OW places; the two need not be equal.",
        swap=("int(np.prod(out_shape[1:]))", "(out_shape[-1] ** 2 if len(out_shape) == 3 else 1)"))
mistake("only one row of the map is counted", "The kernel visits OH rows and OW columns: OH · OW places.",
        swap=("int(np.prod(out_shape[1:]))", "(out_shape[-1] if len(out_shape) == 3 else 1)"))
mistake("the number of arrays is counted, not their elements", "len(layer.parameters()) is 2 for every layer with a bias. Each has data, and data has a "
        "size.", swap=("sum(one.data.size for one in layer.parameters())", "len(layer.parameters())"))

@mistake("groups are ignored", "With groups each output channel sees only its share of the input channels, and the weight is smaller. Its shape "
         "has that worked out already.")
def layer_cost(layer, out_shape):
    parameters, products = reference(layer, out_shape)
    groups = layer.settings["groups"] if hasattr(layer, "settings") else 1
    bias = layer.bias.data.size if parameters and layer.bias is not None else 0
    return (parameters - bias) * groups + bias, products * groups

mistake("each bias is counted as one multiplication", "A bias is added, not multiplied. Take the size of the weight alone.",
        swap=("layer.weight.data.size * places", "layer.weight.data.size * places + parameters - layer.weight.data.size"))
mistake("the maps are taken for squares of their height", "A map has OH · OW places; the two need not be equal.",
        swap=("int(np.prod(out_shape[1:]))", "(out_shape[1] ** 2 if len(out_shape) == 3 else 1)"))
mistake("the sides are added", "Rows times columns: a map has OH · OW places.",
        swap=("int(np.prod(out_shape[1:]))", "(sum(out_shape[1:]) if len(out_shape) == 3 else 1)"))
mistake("the parameters are counted at every place", "A weight is stored once and used at every place. That is what a convolution is.",
        swap=("return parameters, layer", "return parameters * places, layer"))
mistake("the two numbers are exchanged", "First the parameters, then the multiply-adds.",
        swap=("return parameters, layer.weight.data.size * places", "return layer.weight.data.size * places, parameters"))
mistake("multiplications and additions are counted apart", "A multiply-add is one multiplication with its addition: one, not two.",
        swap=("layer.weight.data.size * places", "2 * layer.weight.data.size * places"))
mistake("the kernel's size is forgotten", "Each place of the output takes in·K·K products for every output channel, not one for each pair of channels.",
        swap=("layer.weight.data.size * places", "layer.weight.data.shape[0] * layer.weight.data.shape[1] * places"))
mistake("the input channels are forgotten", "A kernel looks at all channels that come in. The weight's size has them: (O, C, KH, KW).",
        swap=("layer.weight.data.size * places", "int(np.prod(layer.weight.data.shape[2:])) * int(np.prod(out_shape))"))
mistake("the kernel is taken for square", "A kernel has KH · KW weights; the two need not be equal. The weight's size has that worked out.",
        swap=("layer.weight.data.size * places", "int(np.prod(layer.weight.data.shape[:3])) * places * (layer.weight.data.shape[2] if layer.weight.data.ndim == 4 else 1)"))
mistake("the weights of one output channel are counted", "weight[0] is one kernel. There are as many as output channels.",
        swap=("sum(one.data.size for one in layer.parameters())", "sum(one.data[0].size if one.data.ndim > 1 else one.data.size for one in layer.parameters())"))
mistake("in a Linear layer each weight works for every output", "A Linear's weight (O, I) has the outputs in it: each weight works once.",
        swap=("int(np.prod(out_shape[1:]))", "int(np.prod(out_shape[1:] or out_shape))"))
mistake("a Linear layer multiplies nothing", "A Linear layer multiplies each weight once with a feature.",
        swap=("layer.weight.data.size * places", "layer.weight.data.size * places * (len(out_shape) == 3)"))
mistake("a Linear layer costs nothing", "A Linear layer has weights too, and multiplies each once with a feature.",
        swap=("parameters == 0", "parameters == 0 or len(out_shape) == 1"))
mistake("a bias is counted where there is none", "With bias=False a layer has one parameter array only. layer.parameters() lists what is there.",
        swap=("sum(one.data.size for one in layer.parameters())", "sum(one.data.size + len(one.data) for one in layer.parameters() if one.data.ndim > 1)"))
mistake("layers without parameters are counted by their outputs", "Here only products with weights are counted: a ReLU and a pooling cost 0, 0.",
        swap=("return 0, 0", "return 0, int(np.prod(out_shape))"))

@mistake("a layer without parameters is not foreseen", "ReLU and MaxPool2d have no weight. Answer 0, 0 before you ask for one; layer.parameters() is empty there.")
def layer_cost(layer, out_shape):
    weight = layer.weight.data.size
    bias = layer.bias.data.size if layer.bias is not None else 0
    return weight + bias, weight * int(np.prod(out_shape[1:]))

@mistake("a layer without bias is not foreseen", "With bias=False layer.bias is None. layer.parameters() lists what is there.")
def layer_cost(layer, out_shape):
    if not layer.parameters():
        return 0, 0
    return layer.weight.data.size + layer.bias.data.size, reference(layer, out_shape)[1]

@mistake("features are not foreseen", "Behind a Linear out_shape is (O,) and has no places. out_shape[1:] is empty there, and its product 1.")
def layer_cost(layer, out_shape):
    if not layer.parameters():
        return 0, 0
    O, OH, OW = out_shape
    return reference(layer, out_shape)

# %% [markdown] hints="layer_cost"
# `layer.parameters()` lists the weight, and the bias where there is one. `layer.weight.data.size` counts the weights alone.
#
# ---
#
# parameters = Σ sizes. multiply-adds = weights · OH · OW for a convolution, weights for a Linear. `out_shape[1:]` is (OH, OW) behind a convolution and empty behind a Linear; the
# product of nothing is 1.
#
# ---
#
# ```python
# parameters = sum(... for one in layer.parameters())
# if parameters == 0:
#     return 0, 0
# places = int(np.prod(out_shape[...]))
# return parameters, layer.weight.data.size * ...
# ```

# %%
def costs(model, input_shape):
    """Rows (name, parameters, multiply-adds) of the layers with weights, by layer_cost."""
    rows = model.summary(input_shape).rows
    found = [(row["layer"], *layer_cost(layer, row["output"])) for layer, row in zip(model.layers, rows, strict=True)]
    return [row for row in found if row[1]]


table = lenet5(rng=np.random.default_rng(0)).summary((1, 28, 28))
own = np.array([row[1:] for row in costs(lenet5(rng=np.random.default_rng(0)), (1, 28, 28))])

fig, axes = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
for ax, values, title in zip(axes, own.T, ["parameters", "multiply-adds"]):
    bars = ax.barh(["C1", "C3", "C5", "F6", "output"], values, color=[BLUE, BLUE, ORANGE, ORANGE, ORANGE])
    ax.bar_label(bars, [f"{v:,}" for v in values], padding=3)
    ax.set(title=f"{title}: {values.sum():,}", xlim=(0, values.max() * 1.25), xticks=[])
    ax.grid(False)
axes[0].invert_yaxis()
plt.show()

# %% tags=["nbval-check-output"]
print("your counts agree with summary:", own.sum(axis=0).tolist() == [table.parameters, table.multiply_adds])
dense, conv = own[2:].sum(axis=0) / own.sum(axis=0), own[:2].sum(axis=0) / own.sum(axis=0)
print(f"dense layers: {dense[0]:.0%} of the parameters, {dense[1]:.0%} of the multiply-adds")
print(f"convolutions: {conv[0]:.0%} of the parameters, {conv[1]:.0%} of the multiply-adds")
print(f"the network of chapter 06: {784 * 128 + 128 + 128 * 10 + 10:,} parameters")

# %% [markdown]
# What has to be stored lies in the dense layers, what has to be computed in the convolutions. Whoever wants a smaller file and whoever wants less
# work for each digit have to look at different places. And LeNet-5 has fewer parameters than the network of chapter 06.
#
# ## The same plan for photographs
#
# Cats and dogs in colour: 16 and 32 maps, one dense layer of 512. When this network is written down by hand, four slips are common. The second
# convolution is fed `x` again. The first dense layer is given one size instead of two. A ReLU between the dense layers is created, but never called. And a softmax
# stands in front of a loss that contains one. In a `NyangFlow` the first and the third cannot happen.

# %%
#| export
def lenet_cats_dogs(num_classes=2, size=224, *, rng=None):
    """Build a wider LeNet for photographs: (N, 3, size, size) → logits (N, num_classes).

    rng: as in lenet5. At size 224 the first dense layer holds 46 million weights.

    Raises:
        ValueError: for a size below 16, of which nothing would be left.
    """
    if size < 16:
        raise ValueError(f"lenet_cats_dogs takes images of at least 16 × 16, received {size}")
    side = ((size - 4) // 2 - 4) // 2  # two convolutions of 5 × 5, two halvings
    return NyangFlow(
        *lenet_stage(3, 16, rng=rng), *lenet_stage(16, 32, rng=rng),  # (N, 32, side, side)
        Flatten(), Linear(32 * side**2, 512, rng=rng, init=init_for(ReLU)), ReLU(),
        Linear(512, num_classes, rng=rng, init=init_for(None)),
    )

# %% tags=["nbval-check-output"]
for size in (32, 64, 96):
    rows = costs(lenet_cats_dogs(size=size, rng=np.random.default_rng(0)), (3, size, size))
    total = sum(row[1] for row in rows)
    print(f"size {size:3}: {total:10,} parameters, {rows[2][1] / total:.1%} of them in the first dense layer")
weights = [3 * 16 * 25 + 16, 16 * 32 * 25 + 32, 32 * 53 * 53 * 512 + 512, 512 * 2 + 2]
print(f"size 224: {sum(weights):10,} parameters, {weights[2] / sum(weights):.2%} of them in the first dense layer")

# %% [markdown]
# The convolutions do not care how large the picture is. The dense layer behind them grows with its area. This one layer is why later architectures pool until little is left (VGG, 15), or
# until one number a map is left (GoogLeNet, 16).
#
# ## Use: 98 of 100
#
# First LeNet-5 on the same digits, for the same number of epochs as the network of chapter 06. Only the network differs.

# %%
plain = lenet5(rng=np.random.default_rng(0))
print(fit(plain, as_it_is, 8))

# %% [markdown]
# Then with augmentation, for longer: nine of ten digits are turned, scaled, slanted and moved by up to two pixels, afresh in every epoch (11). The floor
# is 98.0 % of the held-out digits.

# %%
def varied():
    return [A.Affine(rotate=(-12, 12), scale=(0.9, 1.1), translate_percent=(-0.07, 0.07), shear=(-10, 10), p=0.9)]


lenet = lenet5(rng=np.random.default_rng(0))
history = fit(lenet, varied, 20)
print(history)

# %% tags=["nbval-check-output"]
reached = {name: accuracy(model, images[test]) for name, model in [("mlp", mlp), ("plain", plain), ("lenet", lenet)]}
assert reached["lenet"] >= 0.98, f"LeNet-5 should read 98.0%, it reads {reached['lenet']:.1%}"
print("LeNet-5 with augmentation reads at least 98.0%:", reached["lenet"] >= 0.98)
print("LeNet-5 without beats the network of chapter 06 by at least 2 points:", reached["plain"] - reached["mlp"] >= 0.02)

# %%
curves = {"network of chapter 06": mlp_curve, "LeNet-5": curve(plain), "LeNet-5, augmented": curve(lenet)}

fig, axes = plt.subplots(1, 2, figsize=(10, 3.2))
axes[0].semilogy(history["epoch"], history["train_loss"], color=BLUE, label="training, varied digits")
axes[0].semilogy(history["epoch"], history["valid_loss"], "--", color=BLUE, label="validation, as they are")
axes[0].set(xlabel="epoch", ylabel="loss", xticks=range(0, 21, 4), title="LeNet-5, augmented")
axes[0].legend()
for (name, values), colour in zip(curves.items(), [GREY, BLUE, ORANGE]):
    axes[1].plot(range(6), values, "o-", color=colour, label=name)
    axes[1].text(5.1, values[-1], f"{values[-1]:.0%}", va="center", color=colour)
axes[1].set(xlabel="pixels moved", ylabel="accuracy", ylim=(0, 1.05), title="held-out digits, moved")
axes[1].legend(loc="lower left")
plt.show()

# %% tags=["nbval-check-output"]
print("moved by 2, LeNet-5 leads the network of chapter 06 by at least 10 points:", curves["LeNet-5"][2] - mlp_curve[2] >= 0.1)

# %% [markdown]
# Right, grey against blue: same digits, same epochs. The architecture alone buys about a pixel, as the stroke in the drawing promised: blue moved by
# two is where grey is by one. It does not make the network indifferent to place. C5 has weights of its own for each of the 25 places, and once a stroke is in
# another place, other weights are asked.
#
# Orange is about one pixel ahead of blue, and that lasts beyond the two pixels it has been moved in training. But two things are different there: it has *seen* moved
# digits, and it was trained for 20 epochs instead of 8. Which of them was it? Train LeNet-5 as long without augmentation.

# %%
longer = lenet5(rng=np.random.default_rng(0))
fit(longer, as_it_is, 20)
apart = {"8 epochs": curves["LeNet-5"], "20 epochs": curve(longer), "20 epochs, augmented": curves["LeNet-5, augmented"]}
print("moved by 4:", ", ".join(f"{name} {values[4]:.0%}" for name, values in apart.items()))

# %% tags=["nbval-check-output"]
print("of equal length, the augmented training leads by at least 10 points:", apart["20 epochs, augmented"][4] - apart["20 epochs"][4] >= 0.1)

# %% [markdown]
# It was the moved digits. Architecture and augmentation are two ways to say the same thing to a network, and they add up.
#
# Move one digit yourself. The bars are the three networks' probabilities. Where does the grey one change its mind? Can
# you find a place where the orange one does?

# %%
from nyang_edu import Softmax

MODELS = {"network of chapter 06": (mlp, GREY), "LeNet-5": (plain, BLUE), "LeNet-5, augmented": (lenet, ORANGE)}


def draw_moved(digit, down, right):
    picture = shifted(images[test[100 * digit]], down, right)
    x = ((picture.astype(np.float32) / 255 - 0.13) / 0.31)[None, None]
    fig, axes = plt.subplots(1, 4, figsize=(10, 2), width_ratios=[2, 3, 3, 3])
    draw_images([axes[0]], [picture], [f"down {down}, right {right}"])
    for ax, (name, (model, colour)) in zip(axes[1:], MODELS.items()):
        with no_memory():
            ax.bar(range(10), Softmax()(model(x))[0], color=colour)
        ax.set(title=name, ylim=(0, 1), xticks=range(10))
    plt.show()


draw_moved(3, 0, 3)

# %%
from ipywidgets import IntSlider, interact

interact(draw_moved, digit=IntSlider(3, 0, 9), down=IntSlider(0, -6, 6), right=IntSlider(3, -6, 6));

# %% [markdown]
# ## See: what the stages became
#
# The six kernels of C1, the maps they make of one digit, and the sixteen maps of S4 that C5 reads. `watch_layers` calls a function after every layer that has
# run.

# %%
from nyang_edu.model.watch import watch_layers


def maps_of(model, *inputs):
    """What each layer returns for the first sample of accuracy's pass, by the layer's name."""
    maps = {}
    with no_memory(), watch_layers(model, lambda name, layer, x, out: maps.update({name: out[0]})):
        accuracy(model, *inputs)
    return maps


seen = maps_of(lenet, images[test[[500]]].repeat(1000, axis=0))
kernels = lenet.state_dict()["0.weight"][:, 0]  # (6, 5, 5)
fig = plt.figure(figsize=(10, 4.4))
upper, lower = fig.subfigures(2, 1, height_ratios=[3, 2])
axes = upper.subplots(2, 7)
draw_images(axes[:1, 0], [images[test[500]]], ["input"])
axes[1, 0].axis("off")
for ax, kernel, k in zip(axes[0, 1:], kernels, range(6)):
    ax.imshow(kernel, cmap="RdBu_r", vmin=-abs(kernels).max(), vmax=abs(kernels).max())
    ax.set_title(f"C1, kernel {k}")
    ax.axis("off")
draw_images(axes[1, 1:], seen["1"], [f"map {k}" for k in range(6)])
draw_images(lower.subplots(1, 16), seen["5"], [f"S4, {k}" for k in range(16)])
plt.show()

# %% tags=["nbval-check-output"]
print(f"maps of C1: {seen['1'].shape}, of S4: {seen['5'].shape}; some of the 400 features are 0: {(seen['5'] == 0).any()}")

# %% [markdown]
# Red weights like ink, blue ones dislike it. Some kernels have a clear direction, and their maps show mostly the strokes of that direction. Others look like
# nothing in particular, as no one asked them to be pretty. In S4 the digit can no longer be recognised. A dark square says that *something* was found, in one of 5 × 5
# places. A map that stays white has found nothing of its kind in this digit.
#
# ### Exercise 6 ★★: which pixels would change the answer?
#
# Backward gives more than weights' gradients. It ends at the input: the gradient of one class's score by every pixel. Its absolute value is the
# *saliency*: how strongly would the score react to this pixel?
#
# The gradient is that of the *score*, not of the loss. So the `dout` that goes in is 1 at the class of each sample, 0
# elsewhere. Two things to watch: eval mode, or Dropout (10) would play dice; and `backward` adds to the parameters' gradients. `undisturbed` is given: when its
# block ends, modes and gradients are as before.

# %%
#| export evaluation.saliency
"""Saliency: how strongly one class's score reacts to each pixel."""

import contextlib

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.watch import modes_kept


@contextlib.contextmanager
def undisturbed(model):
    """Give a model its modes and gradients back when the block ends, also after an error."""
    gradients = [(one, one.grad.copy()) for one in model.parameters()]
    try:
        with modes_kept(model):
            yield model
    finally:
        for one, gradient in gradients:
            one.grad[...] = gradient

# %% exercise="saliency" points=3 stars=2
#| export evaluation.saliency
def saliency(model, x, classes):
    """Measure how a class's score reacts to each pixel: max over c of |∂ score[class] / ∂ x[c]|.

    Args:
        model: a NyangModel, (N, C, H, W) → scores (N, K); its modes and gradients stay.
        x: images (N, C, H, W), of the parameters' dtype.
        classes: (N,) integers, the class asked for in each image.

    Returns:
        (N, H, W), of x's dtype.

    Source: Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks (2014), section 3.
    """
    ### BEGIN SOLUTION undisturbed, in eval mode: forward, a dout of ones at the classes, backward
    with undisturbed(model):
        scores = model.eval()(x)  # (N, K)
        dout = np.zeros_like(scores)
        dout[np.arange(len(x)), classes] = 1
        dx = model.backward(dout)  # (N, C, H, W)
    return np.abs(dx).max(axis=1)  # (N, H, W)
    ### END SOLUTION

# %%
check(saliency)

# %% probe="saliency"
import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear


def probe(saliency, rng):
    N, C, H, W = 4, int(rng.integers(2, 4)), *(int(n) for n in rng.permutation([5, 6]))
    model = NyangFlow(Conv2d(C, 3, 3, padding=1, rng=rng), ReLU(), Dropout(0.5, rng=rng), Flatten(),
                      Linear(3 * H * W, 5, rng=rng)).to(np.float64)
    x, classes = rng.normal(size=(N, C, H, W)), rng.permutation(5)[:N]
    wanted = saliency(model.eval(), x, classes)
    yield "saliency", wanted
    for one in model.parameters():
        one.grad[...] = rng.normal(size=one.grad.shape)
    model.train()
    yield "saliency of a model in training mode", saliency(model, x, classes)
    modes = {layer.training for _, layer in model.named_layers()}
    yield "a model in training mode is left in", {True: "training mode", False: "eval mode"}[min(modes)]
    yield "weight.grad afterwards", model[0].weight.grad
    model.eval()
    saliency(model, x[:1], classes[:1])
    yield "a model in eval mode is left in", "eval mode" if not model.training else "training mode"
    yield "one class for all", saliency(model, x, np.full(N, 2))
    model.to(np.float32)
    yield "saliency in float32", saliency(model, x.astype(np.float32), classes)

# %% mistakes="saliency"
mistake("the gradients of all scores are added up", "A dout of ones asks for the sum of all scores. Set it to 1 at each sample's class, and to 0 "
        "elsewhere.", swap=("dout[np.arange(len(x)), classes] = 1", "dout[...] = 1"))
mistake("every sample gets the classes of all", "dout[:, classes] = 1 sets whole columns. Each row has one class: pick by two arrays, the rows' "
        "numbers and the classes.", swap=("dout[np.arange(len(x)), classes] = 1", "dout[:, classes] = 1"))
mistake("the class is the one the model prefers", "The caller says which class is asked for, and it need not be the winner.",
        swap=("dout[np.arange(len(x)), classes] = 1", "dout[np.arange(len(x)), scores.argmax(axis=1)] = 1"))
mistake("it is the gradient of the loss", "Softmax minus one-hot is where cross-entropy starts. Here the score itself is asked for: 1 at the class, 0 "
        "elsewhere.", swap=("dout[np.arange(len(x)), classes] = 1",
                            "dout = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)\n"
                            "        dout[np.arange(len(x)), classes] -= 1"))
mistake("dout is the scores themselves", "That is the gradient of half the sum of squared scores. dout holds 0 and 1 only.",
        swap=("        dout[np.arange(len(x)), classes] = 1", "        dout = scores"))
mistake("the sign is kept", "A pixel whose ink lowers the score matters as well. Take absolute values first, then the maximum over the channels.",
        swap=("np.abs(dx).max(axis=1)", "dx.max(axis=1)"))
mistake("the absolute value comes after the maximum", "A strong negative gradient in one channel is lost when the maximum is taken first.",
        swap=("np.abs(dx).max(axis=1)", "np.abs(dx.max(axis=1))"))
mistake("the channels are averaged", "A pixel counts by its strongest channel: the maximum over axis 1.",
        swap=("np.abs(dx).max(axis=1)", "np.abs(dx).mean(axis=1)"))
mistake("the channels are added up", "A pixel counts by its strongest channel: the maximum over axis 1.",
        swap=("np.abs(dx).max(axis=1)", "np.abs(dx).sum(axis=1)"))
mistake("the gradient is multiplied by the image", "Gradient times input is another measure: where there is paper it is always 0.",
        swap=("np.abs(dx).max(axis=1)", "np.abs(dx * x).max(axis=1)"))
mistake("the model runs in the mode that it is in", "In training mode Dropout silences features at random. Call model.eval() inside the block.",
        swap=("model.eval()(x)", "model(x)"))
mistake("the maximum over all samples is divided out", "A map of its own scale could no longer be compared with another. Return the values as they "
        "are.", swap=("    return np.abs(dx).max(axis=1)", "    dx = dx / np.abs(dx).max()\n    return np.abs(dx).max(axis=1)"))
mistake("the result is float64", "np.zeros(scores.shape) is float64, and backward then works in it. np.zeros_like(scores) keeps the dtype.",
        swap=("np.zeros_like(scores)", "np.zeros(scores.shape)"))

mistake("dout holds the score of the class", "The score's gradient by itself is 1, however large the score is.",
        swap=("classes] = 1", "classes] = scores[np.arange(len(x)), classes]"))
mistake("it is the gradient of the mean loss", "Cross-entropy asks how the loss reacts, and divides by the batch. Here the score itself is asked for: 1 at the class, 0 "
        "elsewhere.", swap=("dout[np.arange(len(x)), classes] = 1",
                            "dout = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)\n"
                            "        dout[np.arange(len(x)), classes] -= 1\n        dout /= dout.dtype.type(len(x))"))
mistake("it is the gradient of the probability", "Softmax ties all scores together. Here the score itself is asked for: nothing stands behind the model.",
        swap=("dout[np.arange(len(x)), classes] = 1",
              "dout[np.arange(len(x)), classes] = 1\n        share = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)\n"
              "        dout = share * (dout - (share * dout).sum(axis=1, keepdims=True))"))
mistake("the mean of the scores is taken off", "Only the class's own score is asked for: 0 at all others, not a negative share.",
        swap=("classes] = 1", "classes] = 1\n        dout -= dout.dtype.type(1 / dout.shape[1])"))
mistake("the gradient is divided by the batch", "Each sample has a map of its own, and nothing is averaged: 1 at the class.",
        swap=("classes] = 1", "classes] = 1 / len(x)"))
mistake("the class is always the first", "The caller says which class is asked for, one for each sample.",
        swap=("np.arange(len(x)), classes", "np.arange(len(x)), 0"))
mistake("it is the length over the channels", "The square root of the sum of squares is another measure. A pixel counts by its strongest channel: the maximum over axis 1.",
        swap=("np.abs(dx).max(axis=1)", "np.sqrt((dx * dx).sum(axis=1))"))
mistake("the gradient is squared", "Squares change what is compared with what. Take absolute values.",
        swap=("np.abs(dx).max(axis=1)", "(dx * dx).max(axis=1)"))
mistake("only what raises the score counts", "A pixel whose ink lowers the score matters as well. Take absolute values, do not cut off at 0.",
        swap=("np.abs(dx)", "np.maximum(dx, 0)"))
mistake("only the first channel is looked at", "A pixel counts by its strongest channel: the maximum over axis 1.",
        swap=("np.abs(dx).max(axis=1)", "np.abs(dx)[:, 0]"))
mistake("the maximum goes over the samples", "dx is (N, C, H, W): axis 0 holds the samples, axis 1 the channels.",
        swap=("max(axis=1)", "max(axis=0)"))
mistake("the maximum goes over the columns", "dx is (N, C, H, W): axis -1 holds the columns, axis 1 the channels.",
        swap=("max(axis=1)", "max(axis=-1)"))
mistake("the channel's axis is kept", "The result is (N, H, W): without keepdims.", swap=("max(axis=1)", "max(axis=1, keepdims=True)"))
mistake("the channels are left apart", "One number for each pixel: the maximum over the channels, axis 1.", swap=("np.abs(dx).max(axis=1)", "np.abs(dx)"))
mistake("each map is divided by its maximum", "A map of its own scale could no longer be compared with another. Return the values as they "
        "are.", swap=("    return np.abs(dx).max(axis=1)", "    heat = np.abs(dx).max(axis=1)\n    return heat / heat.max(axis=(1, 2), keepdims=True)"))
mistake("the gradients are not brought back", "modes_kept alone brings back the modes. backward has added to every parameter's gradient: undisturbed looks after both.",
        swap=("with undisturbed(model):", "with modes_kept(model):"))
mistake("the mode is not brought back", "undisturbed brings back the modes that it finds when it begins. Call model.eval() inside its block.",
        swap=("    with undisturbed(model):", "    model.eval()\n    with undisturbed(model):"))
mistake("the model is put into training mode at the end", "It may have been in eval mode before. with undisturbed(model): brings back whatever was there.",
        swap=("    return np.abs", "    model.train()\n    return np.abs"))
mistake("the gradients are wiped out", "zero_grad throws away what stood there before, which may be half a step of "
        "training. with undisturbed(model): brings back whatever was there.",
        swap=("    return np.abs", "    model.zero_grad()\n    return np.abs"))
mistake("nothing is remembered for backward", "no_memory is for predicting. backward needs what forward saves.",
        swap=("        scores = model.eval()(x)", "        from nyang_edu.model.core import no_memory\n\n        with no_memory():\n            scores = model.eval()(x)"))
mistake("what backward returns is not used", "The gradient by the pixels is what backward returns. x itself has not changed.",
        swap=("np.abs(dx)", "np.abs(x)"))

# %% [markdown] hints="saliency"
# It is one forward and one backward, as in training, with two differences: no loss stands at the end, and the result is what backward *returns*.
#
# ---
#
# dout (N, K) is 1 at (n, classes[n]), else 0. dx = model.backward(dout). Then |dx|, and the maximum over the channels, axis 1.
#
# ---
#
# ```python
# with undisturbed(model):
#     scores = model.eval()(x)
#     dout = np.zeros_like(...)
#     dout[np.arange(...), ...] = 1
#     dx = model.backward(...)
# return np.abs(...).max(axis=...)
# ```

# %%
x_test = ((images[test].astype(np.float32) / 255 - 0.13) / 0.31)[:, None]
heat = saliency(lenet, x_test, labels[test])  # (1000, 28, 28)

fig, axes = plt.subplots(2, 8, figsize=(10, 2.7))
shown = range(50, 1000, 130)
draw_images(axes[0], images[test[shown]])
for ax, one in zip(axes[1], heat[list(shown)]):
    ax.imshow(one, cmap="Oranges")
    ax.axis("off")
plt.show()

# %% [markdown]
# The dark pixels lie at the strokes and close beside them, on paper too: ink there would change the score as well. Such maps are pretty, and it is easy to read too
# much into them. So test the claim. Turn the 25 most salient pixels of each digit from paper to ink or back. Then do that to 25 pixels drawn by lot, to 25 drawn by lot at the
# strokes (ink, or next to it), and to the 25 least salient.

# %%
def turned_over(places):
    """Accuracy after the pixels at places (1000, 25) are inverted."""
    changed = images[test].reshape(1000, -1).copy()
    np.put_along_axis(changed, places, 255 - np.take_along_axis(changed, places, 1), 1)
    return accuracy(lenet, changed.reshape(-1, 28, 28))


ranked = heat.reshape(1000, -1).argsort(axis=1)
ink = images[test] > 0
near = np.max([shifted(ink, r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)], axis=0).reshape(1000, -1)
lot = np.random.default_rng(0).random(ranked.shape)
places = {"the 25 most salient": ranked[:, -25:], "25 by lot": lot.argsort(axis=1)[:, :25],
          "25 by lot at the strokes": (lot - near).argsort(axis=1)[:, :25], "the 25 least salient": ranked[:, :25]}
read = {name: turned_over(p) for name, p in places.items()}
print("still read, turned over:", ", ".join(f"{name} {share:.0%}" for name, share in read.items()))
at_strokes, on_ink = (np.take_along_axis(a.reshape(1000, -1), ranked[:, -25:], 1).mean() for a in (near, ink))
print(f"of the most salient pixels {at_strokes:.0%} lie at the strokes, {on_ink:.0%} on ink")

# %% tags=["nbval-check-output"]
print("the 25 least salient pixels: at least 95% still read:", read["the 25 least salient"] >= 0.95)
print("the 25 most salient: at least 10 points less than by lot at the strokes:", read["25 by lot at the strokes"] - read["the 25 most salient"] >= 0.1)

# %% [markdown]
# The map holds what it promised: it finds pixels that matter to the score. To lie at a stroke is not enough, as the third number shows. It says nothing about *why*.
#
# ## Against PyTorch
#
# Same layers, same names: your `state_dict` loads into `torch.nn.Sequential` as it is. Then one batch goes through both.

# %%
from importlib.util import find_spec
from time import perf_counter


def torch_lenet(state):
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                          nn.Linear(84, 10))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model


def torch_step(model, x, y):
    import torch

    model.zero_grad()
    value = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
    value.backward()
    return value.item()


def step(model, x, y):
    loss = CrossEntropyLoss()
    model.zero_grad()
    value = loss(model(x), y)
    model.backward(loss.backward())
    return value

# %%
if find_spec("torch") is None:
    print("PyTorch is not installed: this comparison is skipped.")
else:
    fresh = lenet5(rng=np.random.default_rng(1))
    other, x, y = torch_lenet(fresh.state_dict()), x_test[::10], labels[test[::10]]
    difference = abs(step(fresh, x, y) - torch_step(other, x, y))
    assert difference < 1e-4, f"the losses differ by {difference}"
    print("same first loss, to 1e-4:", difference < 1e-4)
    times = np.empty((2, 15))
    for turn in range(15):
        for row, (one_step, model) in enumerate([(step, fresh), (torch_step, other)]):
            start = perf_counter()
            one_step(model, x, y)
            times[row, turn] = perf_counter() - start
    ours, theirs = np.median(times, axis=1)
    print(f"100 digits, forward and backward: here {ours * 1e3:.1f} ms, PyTorch {theirs * 1e3:.1f} ms, "
          f"ratio {ours / theirs:.2f}")

# %% [markdown]
# Two libraries in one process each keep their own threads, and get in each other's way: read the ratio as a rough one. `python -m benchmarks` measures in separate
# processes. On all of Fashion-MNIST, `python -m benchmarks fashion --network lenet5` trains both from the same weights.
#
# ## Exercise 7 ★★: break it and say why
#
# One of the four slips: the ReLU between two dense layers is never called. Nothing fails, and the loss even falls. Yet two dense layers in a row
# can do no more than *one*. Prove it: give the weight and the bias of that one.

# %% exercise="merged_linear" points=2 stars=2
def merged_linear(weight1, bias1, weight2, bias2):
    """Return the one layer that equals two Linear layers with nothing in between.

    Args:
        weight1 (H, I), bias1 (H,): of the first layer, x · weight1ᵀ + bias1.
        weight2 (O, H), bias2 (O,): of the second.

    Returns:
        weight (O, I), bias (O,).
    """
    ### BEGIN SOLUTION put the first layer's output into the second's formula, and collect
    return weight2 @ weight1, weight2 @ bias1 + bias2
    ### END SOLUTION

# %%
check(merged_linear)

# %% probe="merged_linear"
def probe(merged_linear, rng):
    for kind, (I, H, O) in (("equal sizes", [3, 3, 3]), ("unequal sizes", rng.permutation([2, 4, 5]))):
        arrays = rng.normal(size=(H, I)), rng.normal(size=H), rng.normal(size=(O, H)), rng.normal(size=O)
        weight, bias = merged_linear(*arrays)
        yield f"weight, {kind}", weight
        yield f"bias, {kind}", bias

# %% mistakes="merged_linear"
@mistake("the weights are multiplied in the order of the layers", "x · weight1ᵀ · weight2ᵀ = x · (weight2 · weight1)ᵀ: a transpose turns the order "
         "around.")
def merged_linear(weight1, bias1, weight2, bias2):
    return weight1 @ weight2, weight2 @ bias1 + bias2

@mistake("the weight is transposed", "A Linear's weight has one row for each output: (O, I).")
def merged_linear(weight1, bias1, weight2, bias2):
    weight, bias = reference(weight1, bias1, weight2, bias2)
    return weight.T, bias

@mistake("the first bias does not pass through the second layer", "bias1 is part of what the second layer receives, so it is multiplied by weight2 like "
         "everything else.")
def merged_linear(weight1, bias1, weight2, bias2):
    return weight2 @ weight1, bias1 + bias2

@mistake("the first bias is lost", "Put x · weight1ᵀ + bias1, all of it, into the second layer's formula.")
def merged_linear(weight1, bias1, weight2, bias2):
    return weight2 @ weight1, bias2

@mistake("the second bias is lost", "The second layer adds its bias at the end, unchanged.")
def merged_linear(weight1, bias1, weight2, bias2):
    return weight2 @ weight1, weight2 @ bias1

@mistake("the weights are added", "The second layer works on what the first returns. One after the other is a product.")
def merged_linear(weight1, bias1, weight2, bias2):
    return weight1 + weight2, weight2 @ bias1 + bias2

mistake("the first weight is transposed", "x · weight1ᵀ · weight2ᵀ = x · (weight2 · weight1)ᵀ: no transpose is left inside.",
        swap=("return weight2 @ weight1,", "return weight2 @ weight1.T,"))
mistake("the second weight is transposed", "x · weight1ᵀ · weight2ᵀ = x · (weight2 · weight1)ᵀ: no transpose is left inside.",
        swap=("return weight2 @ weight1,", "return weight2.T @ weight1,"))
mistake("both weights are transposed, their order is not turned", "(A · B)ᵀ = Bᵀ · Aᵀ. Turn the order, or leave both as they are.",
        swap=("return weight2 @ weight1,", "return weight2.T @ weight1.T,"))
mistake("the weights are multiplied in the order of the layers, the first one transposed", "x · weight1ᵀ · weight2ᵀ = x · (weight2 · weight1)ᵀ: a transpose turns the order around.",
        swap=("return weight2 @ weight1,", "return weight1.T @ weight2,"))
mistake("the weights are multiplied in the order of the layers, the second one transposed", "x · weight1ᵀ · weight2ᵀ = x · (weight2 · weight1)ᵀ: a transpose turns the order around.",
        swap=("return weight2 @ weight1,", "return weight1 @ weight2.T,"))
mistake("the weights are multiplied element by element", "* multiplies numbers that stand at equal places, @ sums over what lies between two layers.",
        swap=("return weight2 @ weight1,", "return weight2 * weight1,"))
mistake("everything is added", "The second layer works on what the first returns. One after the other is a product.",
        swap=("return weight2 @ weight1, weight2 @ bias1 + bias2", "return weight1 + weight2, bias1 + bias2"))
mistake("the second bias passes through the second layer", "bias2 is added behind the second layer, so nothing multiplies it.",
        swap=("weight2 @ bias1 + bias2", "weight2 @ (bias1 + bias2)"))
mistake("the first bias meets the columns of weight2", "bias1 @ weight2 sums over the outputs. bias1 has one number for each of the H features in between, as has each row of weight2.",
        swap=("weight2 @ bias1 + bias2", "bias1 @ weight2 + bias2"))
mistake("the first bias passes through the first layer", "bias1 is added behind the first layer. What it passes through is the second.",
        swap=("weight2 @ bias1 + bias2", "weight1 @ bias1 + bias2"))
mistake("the biases are multiplied with each other", "bias2 is added at the end.", swap=("weight2 @ bias1 + bias2", "weight2 @ bias1 * bias2"))
mistake("the bias is a column", "(H, 1) stays two-dimensional through @. The bias is (O,): multiply with bias1 as it is.",
        swap=("weight2 @ bias1 + bias2", "weight2 @ bias1[:, None] + bias2[:, None]"))
mistake("the bias is a row", "(1, H) stays two-dimensional through @. The bias is (O,): multiply with bias1 as it is.",
        swap=("weight2 @ bias1 + bias2", "bias1[None] @ weight2.T + bias2"))
mistake("column and row are added to a matrix", "(O, 1) + (O,) spreads to (O, O). Multiply with bias1 as it is, (H,).",
        swap=("weight2 @ bias1 + bias2", "weight2 @ bias1[:, None] + bias2"))
mistake("a ReLU stands in between", "The slip is that the ReLU is never called: nothing is cut off.",
        swap=("weight2 @ bias1 + bias2", "weight2 @ np.maximum(bias1, 0) + bias2"))
mistake("the first bias passes through weight2 transposed", "bias1 has one number for each of the H features in between, as has each row of weight2 (O, H): weight2 @ bias1.",
        swap=("weight2 @ bias1 + bias2", "weight2.T @ bias1 + bias2"))
mistake("the bias is left out", "Two arrays: the weight, and the bias that is left where x is 0.",
        swap=("return weight2 @ weight1, weight2 @ bias1 + bias2", "return weight2 @ weight1"))
mistake("weight and bias are exchanged", "First the weight (O, I), then the bias (O,).",
        swap=("return weight2 @ weight1, weight2 @ bias1 + bias2", "return weight2 @ bias1 + bias2, weight2 @ weight1"))

# %% [markdown] hints="merged_linear"
# Write down the second layer's formula, and put the first layer's formula in place of its x.
#
# ---
#
# (x · weight1ᵀ + bias1) · weight2ᵀ + bias2. Multiply out. What stands behind x, and what is left over?
#
# ---
#
# ```python
# return weight2 @ ..., weight2 @ ... + ...
# ```

# %% [markdown]
# So without that ReLU, `lenet_cats_dogs` at size 224 stores 46 million weights for what `Linear(32 * 53**2, 2)` can do. Your formula, on LeNet-5 with all its dense activations
# removed:

# %% tags=["nbval-check-output"]
three = [lenet[k] for k in (7, 9, 11)]
state = [(one.weight.data.astype(np.float64), one.bias.data.astype(np.float64)) for one in three]
merged = merged_linear(*merged_linear(*state[0], *state[1]), *state[2])
with no_memory():
    features = lenet[:7](x_test)
    slow = NyangFlow(*three)(features)
fast = features @ merged[0].T + merged[1]
print(f"{sum(one.weight.data.size for one in three):,} weights do the work of {merged[0].size:,}")
print("equal outputs:", np.allclose(slow, fast, rtol=1e-4, atol=1e-3))

# %% [markdown]
# ## Try it
#
# - Train `lenet5(classic=True, …)` for 8 epochs. Which rate does tanh want? How far behind is 1998?
# - Turn over the 25 pixels that the map of *another* picture names. How much of the effect is left? And with the map of a network that was never trained?
# - Train `lenet_cats_dogs(size=64, …)` on `nyang_edu.data.cats_dogs.draw_cats_dogs(1000, 64, 0)`. Chapters 15 and 17 will set the number to beat.
#
# ## Recap
#
# - Stages of convolution and pooling turn places into features; dense layers decide.
# - A convolution moves its answer with the picture. Pooling and augmentation make a network care less. Neither makes it stop caring.
# - Parameters are in the dense layers, multiply-adds in the convolutions.
# - Backward reaches the pixels. What it finds there can be tested.
#
# `finish` exports the builders into `nyang_edu/model/zoo/lenet.py` and `saliency` into `nyang_edu/evaluation/saliency.py`.
#
# **References.** LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, Proc. IEEE 86 (1998), section II and Table I. Simonyan, Vedaldi,
# Zisserman, *Deep inside convolutional networks: visualising image classification models and saliency maps*, ICLR workshop 2014, section 3. Zeiler, Fergus,
# *Visualizing and understanding convolutional networks*, ECCV 2014. Simard, Steinkraus, Platt, *Best practices for convolutional neural networks applied to visual
# document analysis*, ICDAR 2003.

# %%
finish("14_lenet")
