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
# # 11 · Data: from a folder to a batch
#
# **You have** layers, losses and an optimizer that train on arrays which lie ready in memory (03 to 10).
#
# **You will build** datasets, a split that does not leak, augmentation, and `NyangDataLoader`, which shuffles, reads
# files in worker threads, and gives the same batches every time.
#
# **It unlocks** training on folders of images, and runs that can be stopped and resumed (13).
#
# Time: about 110 minutes. Nine exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.cats_dogs import draw_cats_dogs, write_cats_dogs
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import MaxPool2d
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.grid import nyang_images_grid
from nyang_edu.utility.plot import BLUE, GREY, ORANGE, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: the same digits, and nothing learned
#
# The file of digits is sorted by class: 500 zeros, then 500 ones, and so on. One network trains on it three times, with the
# same digits, first weights and number of steps. Only the *order* differs: first that of the file, then batches of the file
# shuffled as blocks, last all digits shuffled one by one.

# %%
images, labels = load_digits_5k()
held = np.isin(np.arange(5000) % 5, 0)  # every fifth digit is held out, 100 of each class
pixels = images.reshape(5000, 784).astype(np.float32) / 255
x_train, y_train = pixels[~held], labels[~held]


def orders(rng, count=4000, size=50):
    blocks = np.arange(count).reshape(-1, size)
    return {"order of the file": lambda: np.arange(count),
            "batches shuffled": lambda: rng.permutation(blocks).ravel(),
            "samples shuffled": lambda: rng.permutation(count)}


def train_in(order, epochs=2, size=50):
    rng = np.random.default_rng(0)
    model = NyangFlow(Linear(784, 64, rng=rng), ReLU(), Linear(64, 10, rng=rng))
    optimizer, loss = SGD(model.parameters(), lr=0.05, momentum=0.9), CrossEntropyLoss()
    for _ in range(epochs):
        for batch in order().reshape(-1, size):
            optimizer.zero_grad()
            loss(model(x_train[batch]), y_train[batch])
            model.backward(loss.backward())
            optimizer.step()
    with no_memory():
        return np.mean(model(pixels[held]).argmax(axis=1) == labels[held])


ways = orders(np.random.default_rng(0))
right = {name: train_in(order) for name, order in ways.items()}
assert right["samples shuffled"] > 0.8 > 0.6 > max(right["order of the file"], right["batches shuffled"])
print("  ".join(f"{name}: {share:.0%} right" for name, share in right.items()))

# %%
fig, axes = plt.subplots(3, 1, figsize=(10, 3.2))
for ax, (name, order) in zip(axes, ways.items()):
    ax.imshow(y_train[order()][None], aspect="auto", cmap="tab10", interpolation="nearest")
    ax.set_title(f"{name}: {right[name]:.0%} right", loc="left")
    ax.set(yticks=[], xticks=range(0, 4001, 500))
    ax.grid(False)
plt.show()

# %% [markdown]
# Each strip is one epoch, read from left to right; the colour is the class. In the first two strips a batch of 50 holds one
# class only. Each step teaches the network to say that one name, and unteaches the others. Only in the last strip does every
# batch look like the whole.
#
# Real images bring more trouble: they lie in thousands of files, in other layouts than a layer wants, and some are
# broken. This chapter builds what stands between them and `model(x)`.
#
# ## Idea: the data stay, the indices move
#
# Nobody shuffles images. They are large. One shuffles their *numbers*, cuts that list into batches, and fetches each
# batch when it is needed. Seven samples in batches of three, by hand:

# %%
by_hand = np.array([4, 1, 6, 0, 3, 5, 2])
fig, axes = plt.subplots(1, 4, figsize=(10, 1.4), width_ratios=[7, 3, 3, 1])
draw_matrix(axes[0], by_hand, "an order of the seven samples", highlight=np.isin(by_hand, [0, 3, 5]))
for b, ax in enumerate(axes[1:]):
    draw_matrix(ax, by_hand[3 * b:3 * b + 3], f"batch {b}", highlight=np.full(min(3, 7 - 3 * b), b == 1))
plt.show()

# %% [markdown]
# The last batch is what is left, and belongs to the epoch as much as the others. The next epoch draws another order.
#
# ## Maths
#
# With $N$ samples and batches of $B$, epoch $e$ has an order $\pi_e$, a permutation of $0 … N-1$. Batch $b$ is a slice of it:
#
# $$\text{batch}_b = \pi_e[\,bB : (b+1)B\,], \qquad b = 0 … \lceil N/B \rceil - 1 .$$
#
# The order is a function of $(\text{seed}, e)$, the augmentation of sample $i$ a function of $(\text{seed}, e, i)$. Whoever knows these
# numbers can make any batch again, on any number of threads, after any crash.
#
# ## Shapes, and who calls whom
#
# | what | gives | shape, dtype |
# |---|---|---|
# | a file, `read_image(path)` | an image | (H, W, 3) uint8, 0…255 |
# | `transform(image, rng)` | x | (C, size, size) float32 |
# | `dataset[i]`, or `dataset.sample(i, rng)` | (x, y) | y: one-hot (classes,) float32, or a class number |
# | `nyang_split(labels, ratio)` | index arrays | (n₁,), (n₂,), … integers, disjoint |
# | `for x, y in loader` | batches | (B, C, size, size), (B, …); the last may be smaller |
#
# The chapter's code belongs to five modules, which use each other. The next cells open three of them with their imports.
# A cell below replaces an imported name as soon as you define it.

# %%
#| default_exp data.dataset
#| export
"""Datasets: numbered samples, from arrays or from a folder of images."""

import copy

import numpy as np

from nyang_edu.data.folders import list_images, read_image
from nyang_edu.data.split import nyang_split, one_hot_pairs

# %%
#| export data.transforms
"""Transforms: what happens to an image on its way to the network, drawn afresh in training only."""

import os
import random
import threading

import numpy as np

from nyang_edu.data.dataset import DATA_MODES, image_to_array

# %%
#| export data.ready
"""From a folder of images to three loaders, in one call."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.data.dataset import DATA_MODES, NyangNyangDataset
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.data.transforms import channel_stats, nyang_transforms

# %% [markdown]
# ## One sample
#
# ### Exercise 1 ★★: an image becomes an array
#
# Files hold rows of pixels with three bytes each: (H, W, C), whole numbers 0…255. A convolution wants (C, H, W) in float32, from
# 0 to 1. A grey image (H, W) becomes one channel. 255 is white in *every* image, so divide by that, also where an image's own maximum is less.

# %% exercise="image_to_array" points=2 stars=2
#| export
def image_to_array(image):
    """Bring an image into a network's layout: x[c, h, w] = image[h, w, c] / 255.

    Shapes: image (H, W, C) or grey (H, W), uint8 → x (C, H, W), float32 from 0 to 1.

    Raises:
        TypeError: where the image is not uint8.
        ValueError: where it has neither 2 nor 3 axes.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"an image must be uint8, 0 to 255, received {image.dtype}: "
                        "it may have been converted already")
    if image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, C) or (H, W), received {image.shape}: "
                         "pass one image, not a batch")
    ### BEGIN SOLUTION add the channel axis where it is missing, move channels first, scale
    image = image[:, :, None] if image.ndim == 2 else image  # (H, W, C)
    return image.transpose(2, 0, 1).astype(np.float32) / 255  # (C, H, W)
    ### END SOLUTION

# %%
check(image_to_array)

# %% probe="image_to_array"
def probe(image_to_array, rng):
    H, W = (int(n) for n in rng.permutation([4, 5, 6, 7])[:2])
    colour = rng.integers(5, 200, (H, W, 3)).astype(np.uint8)
    grey = rng.integers(5, 200, (H, W)).astype(np.uint8)
    yield "x of a colour image", image_to_array(colour)
    yield "x of a grey image", image_to_array(grey)
    yield "x of an image with four channels", image_to_array(
        rng.integers(0, 250, (H, W, 4)).astype(np.uint8))
    yield "x of a black image", image_to_array(np.zeros((H, W, 3), np.uint8))
    yield "x of a single grey pixel", image_to_array(np.full((1, 1), 51, np.uint8))
    yield "x of an image with one channel", image_to_array(colour[:, :, :1])

# %% mistakes="image_to_array"
mistake("the channels are left at the end", "A convolution reads axis 0 of an image as its channels. Move the last axis to "
        "the front.", swap=("image.transpose(2, 0, 1)", "image"))
mistake("the values are left from 0 to 255", "255 stands for white, and white is to become 1.",
        swap=(".astype(np.float32) / 255", ".astype(np.float32)"))
mistake("reshape is used to move the axes", "reshape keeps the numbers in their order in memory and only groups them anew: the colours end up "
        "mixed. Moving axes is transpose's work.",
        swap=("image.transpose(2, 0, 1)", "image.reshape(image.shape[2], *image.shape[:2])"))
mistake("rows and columns are swapped", "The order of the axes is turned around as a whole, so the picture lies on its side. "
        "Only the channels move; height stays before width.",
        swap=("image.transpose(2, 0, 1)", "image.transpose(2, 1, 0)"))
mistake("the result is float64", "Dividing uint8 by a number gives float64: twice the memory, and the network computes in float32. "
        "Convert first.", swap=(".astype(np.float32) / 255", " / 255"))
mistake("the division is rounded down", "// drops everything behind the point, so all but pure white becomes 0. Divide with one stroke: /.",
        swap=(".astype(np.float32) / 255", ".astype(np.float32) // 255"))
mistake("bytes are divided and rounded down", "// drops everything behind the point, so all but pure white becomes 0. Divide with one stroke: /.",
        swap=(".astype(np.float32) / 255", " // 255"))
mistake("the bytes are divided in place", "/= writes into the array that is there, and an array of uint8 can hold no fractions. Make a float32 array first, "
        "with astype.", swap=("    return image.transpose(2, 0, 1).astype(np.float32) / 255",
                              "    image /= 255\n    return image.transpose(2, 0, 1).astype(np.float32)"))
mistake("each image is divided by its own maximum", "A dark picture then becomes as bright as any other. 255 means white in every "
        "image: divide by that.", swap=("(np.float32) / 255", "(np.float32) / np.float32(max(image.max(), 1))"))
mistake("the values are divided by 256", "The largest byte is 255, and it should become exactly 1.", swap=("(np.float32) / 255", "(np.float32) / 256"))
mistake("the values are scaled to -1 … 1", "Here the range is 0 to 1. Shifting to another range is left to the transform's mean "
        "and std.", swap=("(np.float32) / 255", "(np.float32) / np.float32(127.5) - 1"))
mistake("a grey image gets its channel axis at the end", "Also a grey image is (C, H, W), with C of 1.",
        swap=("    image = image[:, :, None] if image.ndim == 2 else image  # (H, W, C)\n",
              "    if image.ndim == 2:\n        return image[:, :, None].astype(np.float32) / 255\n"))
mistake("a grey image gets no channel axis", "Also a grey image is (C, H, W), with C of 1: None in an index makes a new axis.",
        swap=("    image = image[:, :, None] if image.ndim == 2 else image  # (H, W, C)\n",
              "    if image.ndim == 2:\n        return image.astype(np.float32) / 255\n"))
mistake("the colours come in reversed order", "Red, green, blue stay in this order. [::-1] on the channel axis makes blue, green, red.",
        swap=("image.transpose(2, 0, 1)", "image.transpose(2, 0, 1)[::-1]"))

# %% [markdown] hints="image_to_array"
# Three changes: the axes, the kind of number, the range. Bring a grey image to three axes first; then one line serves both.
#
# ---
#
# `image[:, :, None]` makes (H, W, 1). `transpose` takes the old places of the new axes. uint8 has to become float32 *before* the division.
#
# ---
#
# ```python
# image = image[:, :, None] if ... else image
# return image.transpose(...).astype(...) / ...
# ```

# %% [markdown]
# ### Exercise 2 ★★: a dataset
#
# A dataset answers two questions: how many samples, and what is sample $i$. The base class is given. A subclass defines `__len__` and
# `sample(index, rng)`; then `dataset[i]` follows, negative places included.
#
# Why `rng`? Augmentation is random. Who asks for a sample decides which random numbers it gets, and that will make the loader repeatable.

# %%
#| export
class NyangDataset:
    """Numbered samples: dataset[i] is the pair (x, y) of sample i, len(dataset) their number.

    A subclass defines __len__, and either sample(index, rng), in which a random transform
    draws from rng, or __getitem__(index). The other of the two follows.

    Raises:
        TypeError: at construction, naming what a subclass forgot to define.
        IndexError: by dataset[i] where there is no sample i.
    """

    def __new__(cls, *args, **kwargs):
        """Refuse a subclass that forgot a method, before anything is read."""
        missing = [] if hasattr(cls, "__len__") else ["__len__(self)"]
        own = (cls.sample, cls.__getitem__)
        if own == (NyangDataset.sample, NyangDataset.__getitem__):
            missing.append("sample(self, index, rng)")
        if missing:
            raise TypeError(f"{cls.__name__} does not define {' and '.join(missing)}: a dataset "
                            "says how many samples it has, and what each of them is")
        return super().__new__(cls)

    def __getitem__(self, index):
        index = range(len(self))[index]  # -1 is the last one; past the end, an IndexError
        return self.sample(index, np.random.default_rng(index))

    def sample(self, index, rng):
        """Return (x, y) of sample index; whatever is random about it is drawn from rng."""
        return self[index]

    def name_of(self, index):
        """Name a sample in a message; a folder's dataset names the file."""
        return f"sample {index} of {type(self).__name__}"

# %% tags=["nbval-check-output"]
class Forgetful(NyangDataset):
    """A dataset without a length."""

    def sample(self, index, rng):
        return index, index


try:
    Forgetful()
except TypeError as error:
    print(error)

# %% [markdown]
# The error comes when the object is made, not an hour later in the training loop. Now yours: samples that lie in two arrays. A transform, where one is given, is called as
# `transform(x, rng)` on the one sample that is asked for, with the generator that `sample` received. Without it, `x[index]` goes out as it is.

# %% exercise="ArrayDataset" points=3 stars=2
#| export
class ArrayDataset(NyangDataset):
    """Samples from two arrays: sample i is (transform(x[i], rng), y[i]), or (x[i], y[i]).

    Args:
        x: (N, …) inputs.
        y: (N, …) labels: class numbers, one-hot rows, or anything else.
        transform: called as transform(x[i], rng) each time a sample is asked for; or None.

    Raises:
        ValueError: where x and y differ in length.
    """

    def __init__(self, x, y, transform=None):
        if len(x) != len(y):
            raise ValueError(f"each x needs its y, received {len(x)} and {len(y)}: "
                             "take both from the same indices")
        self.x, self.y, self.transform = x, y, transform

    def __len__(self):
        ### BEGIN SOLUTION the number of samples
        return len(self.x)
        ### END SOLUTION

    def sample(self, index, rng):
        """Return (x, y) of sample index, transformed with rng where there is a transform."""
        ### BEGIN SOLUTION pick both; transform x with rng if there is a transform
        x = self.x[index]
        if self.transform is not None:
            x = self.transform(x, rng)
        return x, self.y[index]
        ### END SOLUTION

# %%
check(ArrayDataset)

# %% probe="ArrayDataset"
def probe(ArrayDataset, rng):
    N, D = (int(n) for n in rng.permutation([4, 5, 6, 7])[:2])
    x, y = rng.normal(size=(N, D)), rng.integers(0, 9, N)
    stored = x.copy()
    i, seed = int(rng.integers(1, N)), int(rng.integers(10**6))
    inputs = []

    def noisy(image, generator):
        inputs.append(np.shape(image))
        return image * 2 + generator.normal(size=np.shape(image))

    plain, random = ArrayDataset(x, y), ArrayDataset(x, y, noisy)
    yield "how often the transform ran at construction", len(inputs)
    yield "len(dataset)", len(plain)
    pair = plain.sample(i, np.random.default_rng(seed))
    yield "the number of things in a sample", len(pair)
    yield "x without a transform", pair[0]
    yield "y", pair[1]
    a, label = random.sample(i, np.random.default_rng(seed))
    b, _ = random.sample(i, np.random.default_rng(seed + 1))
    yield "x with a transform", a
    yield "y with a transform", label
    yield "x of the same sample with another generator", b
    yield "the shapes that the transform got", str(inputs)
    yield "x of dataset[-1]", plain[-1][0]
    words = ArrayDataset(np.zeros((2, 3, 3), np.uint8), np.eye(2, dtype=np.float32))
    x0, y0 = words.sample(1, np.random.default_rng(0))
    yield "x of a uint8 array", x0
    yield "y that is a one-hot row", y0
    yield "how many samples a for loop meets", sum(1 for _ in plain)
    yield "the stored x, after samples were transformed", (
        "unchanged" if np.array_equal(x, stored) else "changed")

# %% mistakes="ArrayDataset"
mistake("the transform is never called", "Where self.transform is not None, x goes through it: transform(x, rng).",
        swap=("if self.transform is not None:", "if False:"))
mistake("the transform gets a generator of its own", "A generator that is made here starts the same way in each call, or in a way that nobody can "
        "repeat. Pass on the rng that sample received.", swap=("self.transform(x, rng)", "self.transform(x, np.random.default_rng(0))"))
mistake("the transform's generator is made of the index", "Then a sample looks the same in every epoch. Who asks for the sample decides: pass on the rng that sample received.",
        swap=("self.transform(x, rng)", "self.transform(x, np.random.default_rng(index))"))
mistake("the transform is called without the generator", "A transform is called as transform(x, rng): it draws from that generator and from nothing else.",
        swap=("self.transform(x, rng)", "self.transform(x)"))
@mistake("the transform is applied once, at construction", "Every epoch then meets the very same pictures. Keep x as it is, and transform a sample "
         "each time it is asked for.")
class ArrayDataset(reference):
    def __init__(self, x, y, transform=None):
        super().__init__(x, y)
        if transform is not None:
            rng = np.random.default_rng(0)
            self.x = np.stack([transform(one, rng) for one in x])

mistake("the transformed sample is written back into x", "The next epoch then transforms what is transformed already, and the images drift away from what was stored. "
        "Work on a name of your own: x = self.x[index].",
        swap=("""            x = self.transform(x, rng)
""", """            x = self.x[index] = self.transform(x, rng)
"""))
mistake("the whole array goes through the transform", "A transform takes one sample. Pick x[index] first.",
        swap=("            x = self.transform(x, rng)", "            x = self.transform(self.x, rng)[index]"))
mistake("the label is left out", "A sample is a pair: return x and y.", swap=("return x, self.y[index]", "return x"))
mistake("the pair is the wrong way round", "x comes first, then y: everybody unpacks a sample as x, y.",
        swap=("return x, self.y[index]", "return self.y[index], x"))
mistake("all labels are returned", "Only the label of this one sample belongs to it: self.y[index].",
        swap=("return x, self.y[index]", "return x, self.y"))
mistake("the length is that of one sample", "len(dataset) counts the samples, and they lie along the first axis of x.",
        swap=("return len(self.x)", "return len(self.x[0])"))
mistake("the length is the number of all elements", "x.size counts every number in the array. Samples lie along the first axis only.",
        swap=("return len(self.x)", "return self.x.size"))
mistake("x is converted although there is no transform", "Without a transform x goes out as it is stored, whatever it is: not every dataset "
        "holds images.", swap=("""            x = self.transform(x, rng)
""", """            x = self.transform(x, rng)
        else:
            x = np.asarray(x, np.float32) / 255
"""))

# %% [markdown] hints="ArrayDataset"
# `sample` picks one row of x and one of y. The transform, if there is one, sees that row only.
#
# ---
#
# `self.transform is not None` says whether there is one. Call it as `self.transform(x, rng)`; it returns the new x.
#
# ---
#
# ```python
# # __len__
# return len(...)
#
# # sample
# x = self.x[...]
# if self.transform is not None:
#     x = ...
# return x, ...
# ```

# %% [markdown]
# ## Three parts that share nothing
#
# Training samples move the weights. *Validation* samples choose between models. *Test* samples are looked at once, at the end.
# No sample may lie in two parts, and none may get lost.
#
# How many go where? Cutting every share off to a whole number loses samples: of 9 samples, 0.8, 0.1 and 0.1 give 7 + 0 + 0. The given `split_counts` starts with one
# sample for each part, then hands each further sample to the part that is furthest below its share. The given `split_groups` says what is split on its own:
# all samples together, or, *stratified*, each class by itself.

# %%
#| export data.split
"""Splits of a data set into parts that are disjoint and complete, seeded, stratified on request."""

import numpy as np

from nyang_edu.utility.tensor import one_hot


def split_counts(count, split_ratio):
    """Share count samples out: one for each part, then each to the part furthest below its share.

    Returns:
        (parts,) integers that sum to count; a part of ratio 0 gets none.

    Raises:
        ValueError: where the ratios do not sum to 1, or there are fewer samples than parts.
    """
    ratio = np.asarray(split_ratio, dtype=float)
    if ratio.ndim != 1 or not np.isclose(ratio.sum(), 1) or ratio.min() < 0:
        raise ValueError(f"split_ratio must be shares of at least 0 that sum to 1, received "
                         f"{split_ratio} with sum {ratio.sum():g}: try (0.8, 0.1, 0.1)")
    counts = (ratio > 0).astype(int)
    if count < counts.sum():
        raise ValueError(f"{counts.sum()} parts need at least {counts.sum()} samples, received "
                         f"{count}: collect more, or split into fewer parts")
    for _ in range(count - counts.sum()):
        counts[np.argmax(ratio * count - counts)] += 1
    return counts


def split_groups(labels, split_ratio, stratified):
    """List what is split on its own: all indices together, or those of each class if stratified.

    Args:
        labels: (N,) class numbers or names, or one-hot rows (N, classes).

    Raises:
        ValueError: naming each class with fewer samples than there are parts.
    """
    if not stratified:
        return [np.arange(len(labels))]
    labels = np.asarray(labels)
    labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
    groups = {str(name): np.flatnonzero(labels == name) for name in np.unique(labels)}
    parts = np.count_nonzero(split_ratio)
    small = [f"{name} has {len(group)}" for name, group in groups.items() if len(group) < parts]
    if small:
        raise ValueError(f"each class needs a sample for each of the {parts} parts, but class "
                         f"{', class '.join(small)}: collect more, or set stratified=False")
    return list(groups.values())


def one_hot_pairs(samples, labels, indices, classes):
    """Pair each chosen sample with its own label: [(samples[i], one-hot row of labels[i]), …]."""
    rows = one_hot(np.asarray(labels)[indices], classes)  # (len(indices), classes)
    return [(samples[i], row) for i, row in zip(indices, rows)]

# %% tags=["nbval-check-output"]
print("9 samples, cut off to whole numbers:", [int(share * 9) for share in (0.8, 0.1, 0.1)])
print("9 samples, split_counts:", split_counts(9, (0.8, 0.1, 0.1)).tolist())
print(one_hot_pairs(["a.jpg", "b.jpg", "c.jpg"], [0, 1, 1], [2, 0], classes=2))

# %% [markdown]
# Note the last line: sample *and* label are picked with the same index.
#
# ### Exercise 3 ★★: the split
#
# For each group: shuffle its indices, cut them by `split_counts`, and add each piece to its part. At the end shuffle each part
# once more, or a stratified part would hold one class after the other.

# %% exercise="nyang_split" points=4 stars=2
#| export data.split
def nyang_split(labels, split_ratio, *, stratified=False, seed=0):
    """Split 0 … N − 1 at random into parts that are disjoint and complete.

    Args:
        labels: (N,) class numbers or names, or (N, classes) one-hot; any sequence of N samples
            where stratified is False.
        split_ratio: the share of each part, such as (0.8, 0.1, 0.1); they sum to 1.
        stratified: whether each class is split on its own, in the same shares.
        seed: the same seed gives the same parts.

    Returns:
        a tuple of index arrays, one a part, each in random order; the sizes within each group
        are those of split_counts.

    Raises:
        ValueError: as split_counts and split_groups.
    """
    rng = np.random.default_rng(seed)
    parts = [[] for _ in split_ratio]
    for group in split_groups(labels, split_ratio, stratified):
        counts = split_counts(len(group), split_ratio)
        ### BEGIN SOLUTION shuffle the group, cut it by counts, append each piece to its part
        pieces = np.split(rng.permutation(group), np.cumsum(counts)[:-1])
        for part, piece in zip(parts, pieces):
            part.append(piece)
        ### END SOLUTION
    ### BEGIN SOLUTION join the pieces of each part, and shuffle the part
    return tuple(rng.permutation(np.concatenate(part)) for part in parts)
    ### END SOLUTION

# %%
check(nyang_split)

# %% probe="nyang_split"
def flat(part):
    """The indices of a part in one row, also where it is still a list of pieces."""
    pieces = part if isinstance(part, (list, tuple)) else [part]
    return np.concatenate([np.zeros(0, int), *(np.ravel(one).astype(int) for one in pieces)])


def form_of(part):
    """What a part is: a row of numbers, or something that has to be joined first."""
    pieces = part if isinstance(part, (list, tuple)) else [part]
    rows = isinstance(part, (list, tuple)) and any(np.ndim(one) for one in pieces)
    return "a list of pieces" if rows else f"{np.ndim(part)} axis"


def as_index(part, count):
    """Whether an array can be indexed with a part; an empty one of floats cannot."""
    try:
        return f"{np.arange(count)[part].size} samples"
    except IndexError as error:
        return f"IndexError: {error}"


def joined(parts):
    return np.concatenate([flat(part) for part in parts])


def sizes(parts):
    return np.array([len(flat(part)) for part in parts])


def shared(*splits):
    """How much of the further parts the first part holds too, over several splits."""
    inside = np.concatenate([np.isin(joined(parts[1:]), flat(parts[0])) for parts in splits])
    return "all" if inside.all() else "some" if inside.any() else "none"


def how_often(parts, count):
    """How often the rarest and the most frequent index occur, in words; foreign ones too."""
    found = joined(parts)
    if found.size and (found.min() < 0 or found.max() >= count):
        return "some index lies outside"
    often = np.bincount(found, minlength=count)
    lost, double = np.sum(often == 0), np.sum(often > 1)
    return f"{'some' if lost else 'none'} lost, {'some' if double else 'none'} twice"


def mixture(values):
    """How a row of values is ordered: sorted, in few runs, or mixed."""
    values = np.asarray(values)
    changes = np.count_nonzero(values[1:] != values[:-1])
    return "in blocks" if changes < len(values) / 5 else "mixed"


def probe(nyang_split, rng):
    K, seed = 3, int(rng.integers(10**6))
    per = rng.permutation([15, 22, 33])
    labels = rng.permutation(np.repeat(np.arange(K), per))
    N, ratio = len(labels), [(0.6, 0.25, 0.15), (0.5, 0.3, 0.2), (0.7, 0.1, 0.2)][rng.integers(3)]
    plain = nyang_split(labels, ratio, seed=seed)
    yield "the number of parts", len(plain)
    yield "the form of a part", form_of(plain[0])
    yield "the size of each part", sizes(plain)
    yield "the indices", how_often(plain, N)
    double = any(len(set(flat(part).tolist())) < len(flat(part)) for part in plain)
    yield "an index twice within one part", "some" if double else "none"
    kinds = {np.ravel(one).dtype.kind for part in plain for one in part}
    yield "the type of the indices", "integers" if kinds <= set("iu") else "something else"
    first = flat(plain[0])
    yield "the order in the first part", (
        "that of the file" if np.array_equal(first, np.sort(first)) else "shuffled")
    yield "the samples of the first part", (
        "the first in the file" if set(first.tolist()) == set(range(len(first))) else "from all over")
    again, other = nyang_split(labels, ratio, seed=seed), nyang_split(labels, ratio, seed=seed + 1)
    same = np.array_equal(joined(plain), joined(again))
    yield "the parts with the same seed", "the same" if same else "others"
    yield "the parts with another seed", (
        "the same" if np.array_equal(joined(plain), joined(other)) else "others")
    each = nyang_split(labels, ratio, stratified=True, seed=seed)
    yield "the indices, stratified", how_often(each, N)
    yield "the size of each part, stratified", sizes(each)
    yield "what the first part shares with the others", shared(plain, each)
    inside = [flat(part) % N for part in each]
    yield "each class in each part, stratified", np.array(
        [np.bincount(labels[part], minlength=K) for part in inside])
    yield "the classes along a part, stratified", mixture(labels[inside[0]])
    group = np.flatnonzero(labels == 0)
    taken = group[np.isin(group, inside[0])]
    yield "the samples of a class in its first part", (
        "the first of the class" if np.array_equal(taken, group[:len(taken)]) else "from all over")
    names, rows = np.array(["cat", "dog", "owl"])[labels], np.eye(K)[labels]
    for what, value in [("names", names), ("one-hot rows", rows)]:
        part = flat(nyang_split(value, ratio, stratified=True, seed=seed)[1])
        yield f"each class in the second part, from {what}", np.bincount(
            labels[part % N], minlength=K)
    few = nyang_split([0] * 3 + [1] * 3, (0.8, 0.1, 0.1), stratified=True, seed=seed)
    yield "the size of each part, three samples a class", sizes(few)
    two = nyang_split(labels, (0.75, 0.0, 0.25), seed=seed)
    yield "the size of each part where a ratio is 0", sizes(two)
    yield "the part of ratio 0, used as an index", as_index(two[1], N)
    half = flat(nyang_split(np.repeat([0, 1], 40), (0.5, 0.5), stratified=True, seed=seed)[0])
    places = [set(half[half < 40].tolist()), set((half[half >= 40] - 40).tolist())]
    yield "the places chosen in two classes of equal size", (
        "the first ones" if set(range(20)) in places
        else "the same" if places[0] == places[1] else "others")
    yield "the indices of four parts", how_often(
        nyang_split(labels, (0.4, 0.3, 0.2, 0.1), stratified=True, seed=seed), N)

# %% mistakes="nyang_split"
mistake("nothing is shuffled", "A file is often sorted by class: cut as it is, the last part holds only the last class. Draw a permutation of each group.",
        swap=("""np.split(rng.permutation(group), np.cumsum(counts)[:-1])
        for part, piece in zip(parts, pieces):
            part.append(piece)
    return tuple(rng.permutation(np.concatenate(part)) for part in parts)""",
              """np.split(group, np.cumsum(counts)[:-1])
        for part, piece in zip(parts, pieces):
            part.append(piece)
    return tuple(np.concatenate(part) for part in parts)"""))
mistake("each part is drawn on its own", "Two draws know nothing of each other: a sample lands in two parts, and test results look better than they are. Draw one "
        "permutation of the group, then cut it.",
        swap=("np.split(rng.permutation(group), np.cumsum(counts)[:-1])", "[rng.permutation(group)[:n] for n in counts]"))
mistake("every piece begins at the start of the permutation", "group[:n] always takes the first n, so the smaller parts lie within the larger one. Each piece begins where the one before "
        "it ended: cut at the cumulative counts.",
        swap=("        pieces = np.split(rng.permutation(group), np.cumsum(counts)[:-1])\n",
              "        order = rng.permutation(group)\n        pieces = [order[:n] for n in counts]\n"))
mistake("return stands inside the loop over the groups", "The first group then ends the function, and the other classes are in no part. Join the pieces after the loop, when all groups have had their turn.",
        swap=("            part.append(piece)\n    return", "            part.append(piece)\n        return"))
mistake("the pieces of a part are not joined", "Each part is still a list with one array for each group. np.concatenate makes one array of it, and rng.permutation shuffles that.",
        swap=("tuple(rng.permutation(np.concatenate(part)) for part in parts)", "tuple(parts)"))
mistake("an empty part is an array of floats", "A list without entries becomes float64, and no array can be indexed with that. Keep the pieces as arrays and join them with np.concatenate, "
        "or say dtype=int.",
        swap=("""            part.append(piece)
    return tuple(rng.permutation(np.concatenate(part)) for part in parts)""", """            part.extend(piece)
    return tuple(rng.permutation(np.array(part)) for part in parts)"""))
mistake("each group starts from the seed again", "A generator made inside the loop begins anew for each class, so classes of equal size get the same permutation. Use the one rng that "
        "stands before the loop.", swap=("np.split(rng.permutation(group),", "np.split(np.random.default_rng(seed).permutation(group),"))
mistake("the result of rng.shuffle is used", "rng.shuffle mixes the array in place and returns None. Call it on a line of its own, or take what rng.permutation returns.",
        swap=("np.split(rng.permutation(group),", "np.split(rng.shuffle(group),"))
mistake("the result of rng.shuffle is sliced", "rng.shuffle mixes the array in place and returns None. Call it on a line of its own, or take what rng.permutation returns.",
        swap=("np.split(rng.permutation(group), np.cumsum(counts)[:-1])", "[rng.shuffle(group)[:n] for n in counts]"))
mistake("the shares are cut off to whole numbers", "int(ratio · N) of each part sums to less than N, and the rest lies in no part. counts says how many, and it sums up.",
        swap=("np.split(rng.permutation(group), np.cumsum(counts)[:-1])",
              "np.split(rng.permutation(group), np.cumsum([int(share * len(group)) for share in split_ratio]))[:-1]"))
mistake("stratified is ignored", "Where stratified is True, every class is split on its own. Walk over the groups that split_groups returns.",
        swap=("split_groups(labels, split_ratio, stratified)", "split_groups(labels, split_ratio, False)"))
mistake("a part holds one class after the other", "The pieces were joined class by class. Shuffle the joined part once more: rng.permutation.",
        swap=("tuple(rng.permutation(np.concatenate(part)) for part in parts)", "tuple(np.concatenate(part) for part in parts)"))
mistake("places in the group are taken for indices", "rng.permutation(len(group)) counts within the class. The samples are numbered in the whole data set: "
        "permute group itself.", swap=("rng.permutation(group)", "rng.permutation(len(group))"))
mistake("the seed is ignored", "One seed, one split. Here every seed gives the same one.",
        swap=("np.random.default_rng(seed)", "np.random.default_rng(0)"))
mistake("a hidden global generator draws the order", "np.random.permutation knows nothing of seed, and nobody gets this split back. Draw with rng.",
        swap=("np.split(rng.permutation(group), np.cumsum(counts)[:-1])", "np.split(np.random.permutation(group), np.cumsum(counts)[:-1])"))
mistake("samples are drawn with replacement", "rng.choice may draw a sample twice and leave another out. A permutation holds each once.",
        swap=("np.split(rng.permutation(group),", "np.split(rng.choice(group, len(group)),"))
mistake("each group replaces the one before", "With more than one class, the pieces of all of them belong to the part: append.",
        swap=("part.append(piece)", "part[:] = [piece]"))
mistake("labels are returned instead of indices", "The parts are index arrays: whoever holds them can pick images and labels alike.",
        swap=("rng.permutation(np.concatenate(part)) for part", "np.asarray(labels)[rng.permutation(np.concatenate(part))] for part"))
mistake("counts are taken for places to cut", "np.split wants the places at which it cuts, counted from the start: the cumulative sum of the counts.",
        swap=("np.cumsum(counts)[:-1]", "counts[:-1]"))
mistake("all counts are taken for places to cut", "np.split wants the places at which it cuts, counted from the start, and n - 1 cuts make n pieces: the cumulative sum of the counts, without the last.",
        swap=("np.cumsum(counts)[:-1]", "counts"))

# %% [markdown] hints="nyang_split"
# One permutation a group, cut in pieces: so no sample can be in two parts, and none is lost.
#
# ---
#
# `rng.permutation(group)` gives the group's own indices in random order. `np.split(array, places)` cuts at the given places; these are the cumulative counts without the
# last one. `parts` is a list of lists: append to each.
#
# ---
#
# ```python
# # in the loop
# pieces = np.split(rng.permutation(...), np.cumsum(...)[:-1])
# for part, piece in zip(parts, ...):
#     part.append(...)
#
# # at the end
# return tuple(rng.permutation(np.concatenate(...)) for part in parts)
# ```

# %% [markdown]
# ## See: what stratified buys
#
# A rare class shows it: 200 samples, 12 of them positive, as with a rare illness. How many positives does the test part of 40 get? 100 seeds each way.

# %%
rare = np.repeat([0, 1], [188, 12])
found = {name: [rare[nyang_split(rare, (0.6, 0.2, 0.2), stratified=way, seed=s)[2]].sum() for s in range(100)]
         for name, way in [("at random", False), ("stratified", True)]}

fig, axes = plt.subplots(1, 2, figsize=(9, 2.4), sharey=True)
for ax, (name, counts), colour in zip(axes, found.items(), [ORANGE, BLUE]):
    ax.bar(*np.unique(counts, return_counts=True), color=colour)
    ax.set(title=name, xlabel="positives in the test part", xlim=(-0.7, 8.7))
axes[0].set_ylabel("number of seeds")
assert set(found["stratified"]) == {2} and min(found["at random"]) <= 1
plt.show()

# %% [markdown]
# At random, some test parts hold hardly any positives, and whatever is measured on them is luck.
#
# ## Split first, augment afterwards
#
# Suppose somebody augments first, stores several files of each photo, and then splits *the files*. No file is in two parts, and yet the test files' siblings lie in training.
#
# ### Exercise 4 ★: predict the leak
#
# Of each photo there are `copies` files, and there are very many photos. A share `held_out` of all files is drawn at random for the test. Which share of the test files has *at least one* sibling in training? Work out 5
# copies and 20 % on paper first: is it nearer to 20 %, 80 % or 100 %?

# %% exercise="leaked_share" points=1 stars=1 reveal=false
def leaked_share(copies, held_out):
    """Return the expected share of test files that have a sibling in the training part.

    Args:
        copies: files of one photo, itself included; at least 1.
        held_out: the share of all files that is drawn for the test, 0 to 1.
    """
    ### BEGIN SOLUTION when does a test file have no sibling in training?
    return 1 - held_out ** (copies - 1)
    ### END SOLUTION

# %%
check(leaked_share)

# %% probe="leaked_share"
def probe(leaked_share, rng):
    yield "the share", leaked_share(int(rng.integers(3, 7)), rng.uniform(0.1, 0.4))
    yield "the share where nothing was augmented", leaked_share(1, rng.uniform(0.1, 0.4))

# %% mistakes="leaked_share"
@mistake("only one sibling is considered", "That is the chance for one sibling. There are copies - 1 of them, and one in training is enough.")
def leaked_share(copies, held_out):
    return 1 - held_out

@mistake("the file itself is counted as its sibling", "The file is in the test part already. Only the others, copies - 1, can be in training.")
def leaked_share(copies, held_out):
    return 1 - held_out**copies

@mistake("all siblings are asked to be in training", "One of them is enough to leak. Ask for the opposite: that all are held out too.")
def leaked_share(copies, held_out):
    return (1 - held_out) ** (copies - 1)

@mistake("this is the share without a sibling in training", "You have the chance that all siblings are held out as well. The question is the opposite.")
def leaked_share(copies, held_out):
    return held_out ** (copies - 1)

@mistake("the chances of the siblings are added up", "Chances of things that can happen together do not add up, and the sum exceeds 1. Multiply the chances that each one is held out.")
def leaked_share(copies, held_out):
    return (copies - 1) * (1 - held_out)

# %% [markdown] hints="leaked_share"
# The opposite is easier: a test file is clean if *every* one of its siblings has been held out too.
#
# ---
#
# A file has copies − 1 siblings. Each is held out with chance held_out, and (with very many photos) independently of the others.
#
# ---
#
# ```python
# return 1 - held_out ** (...)
# ```

# %% [markdown]
# How bad is it? Take 1,000 digits and give each a label by *coin flip*. There is nothing to learn here: an honest test must show about 50 %. Make five files
# of each, brighter or darker and with noise, and classify a test file by its nearest training file.

# %%
rng = np.random.default_rng(0)
coin = rng.integers(0, 2, 1000)
photos = images[rng.choice(5000, 1000, replace=False)] / 255
files = np.repeat(photos.reshape(1000, 784), 5, axis=0) * rng.uniform(0.7, 1.3, (5000, 1))
files = (files + rng.normal(0, 0.1, files.shape)).astype(np.float32)  # (5000, 784)
photo_of = np.repeat(np.arange(1000), 5)  # the photo that each file was made of


def nearest_right(train, test):
    a, b = files[test], files[train]
    distance = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return np.mean(coin[photo_of[test]] == coin[photo_of[train]][distance.argmin(axis=1)])


train, test = nyang_split(photo_of, (0.8, 0.2))
shared = np.isin(photo_of[test], photo_of[train]).mean()
leaky = nearest_right(train, test)
train, test = (np.flatnonzero(np.isin(photo_of, part)) for part in nyang_split(photos, (0.8, 0.2)))
honest = nearest_right(train, test)
print(f"files split:  {leaky:.0%} right; {shared:.1%} of the test files have a sibling in training")
print(f"photos split: {honest:.0%} right")
assert leaky > 0.9 and 0.4 < honest < 0.6

# %% [markdown]
# (`leaked_share(5, 0.2)` is an average, a little below 100 %. That all test files have a sibling here is chance: one photo with its five files in the test would make it 99.5 %.)
#
# It reads coin flips, nearly without a mistake. That is what a leak looks like: a wonderful number. So split the *photos* first, and augment only what is in training, at the moment it is asked for. The same holds for
# several photos of one animal or patient: split by animal, by patient.
#
# ## The loader
#
# ### Exercise 5 ★★: an order for each epoch
#
# In chapter 06 one generator went from epoch to epoch. To know the order of epoch 50 one had to draw the 49 before, so a run that resumes there would have to repeat them, and whatever else is drawn in between shifts all that follows. Now the order is a *function* of seed and epoch: a generator can
# be made of a list of numbers, `np.random.default_rng([seed, epoch])`.

# %%
#| export data.loader
"""The loader: batches of a dataset, in an order and with pixels that depend on numbers only."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

# %% exercise="epoch_order" points=2 stars=2
#| export data.loader
def epoch_order(count, epoch, seed, shuffle=True):
    """Return the order in which an epoch visits the samples 0 … count − 1, each once.

    Args:
        count: the number of samples; may be 0.
        epoch, seed: integers of at least 0; each pair has an order of its own.
        shuffle: False gives 0, 1, 2, … in every epoch.

    Returns:
        (count,) integers; the same arguments give the same order.
    """
    ### BEGIN SOLUTION 0, 1, 2, … or a permutation from a generator made of seed and epoch
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)
    ### END SOLUTION

# %%
check(epoch_order)

# %% probe="epoch_order"
def distinct(orders):
    return len({tuple(np.asarray(order).tolist()) for order in orders})


def probe(epoch_order, rng):
    count, seed = int(rng.integers(90, 130)), int(rng.integers(10**5))
    order = np.asarray(epoch_order(count, 0, seed))
    yield "the order, sorted", np.sort(order)
    yield "the type of the order", "integers" if order.dtype.kind in "iu" else str(order.dtype)
    away = np.abs(order - np.arange(count)).max() if len(order) == count else 0
    yield "how far samples move", "not at all" if away == 0 else "far" if away > 9 else "a little"
    near = np.abs(np.diff(order.astype(float))).mean() < count / 5  # a third is what chance gives
    yield "neighbours in the file", "mostly still near" if near else "far apart"
    again = np.asarray(epoch_order(count, 0, seed))
    yield "the same call again", "the same order" if np.array_equal(order, again) else "another order"
    yield "how many of four epochs differ", distinct(epoch_order(count, e, seed) for e in range(4))
    yield "how many of four seeds differ", distinct(epoch_order(count, 2, seed + s) for s in range(4))
    yield "how many of all pairs of four seeds and four epochs differ", distinct(
        epoch_order(count, e, s) for s in range(4) for e in range(4))
    yield "how many of epochs 0, 10, 100, 1000 of seeds 0, 10, 100, 1000 differ", distinct(
        epoch_order(count, e, s) for s in (0, 10, 100, 1000) for e in (0, 10, 100, 1000))
    far = [epoch_order(count, 10**k, 0) for k in range(1, 8)]
    yield "epoch 0 of seed 1 and epochs 10, 100, …, 10000000 of seed 0", (
        "all differ" if distinct([epoch_order(count, 0, 1), *far]) == 1 + len(far) else "some are equal")
    yield "the order without shuffle", epoch_order(count, 3, seed, shuffle=False)
    yield "the order of a single sample", epoch_order(1, 3, seed)
    yield "the number of samples where there is none", len(epoch_order(0, 3, seed))

# %% mistakes="epoch_order"
mistake("every epoch has the same order", "The epoch has to take part in making the generator: default_rng([seed, epoch]).",
        swap=("default_rng([seed, epoch])", "default_rng(seed)"))
mistake("the seed is ignored", "The seed has to take part in making the generator: default_rng([seed, epoch]).",
        swap=("default_rng([seed, epoch])", "default_rng(epoch)"))
mistake("seed and epoch are added", "Then seed 1 in epoch 0 repeats what seed 0 does in epoch 1. A list keeps the two apart.",
        swap=("default_rng([seed, epoch])", "default_rng(seed + epoch)"))
mistake("seed and epoch are multiplied", "0 times anything is 0, and 2 · 3 is 3 · 2: many pairs share an order. A list keeps the two apart.",
        swap=("default_rng([seed, epoch])", "default_rng(seed * epoch)"))
mistake("seed and epoch are glued into one number with a fixed factor", "As soon as the epoch reaches the factor, two pairs share an order. A list has no such limit.",
        swap=("default_rng([seed, epoch])", "default_rng(seed * 1000 + epoch)"))
mistake("the order cannot be repeated", "A generator without a seed, or the hidden global one, is different every time. Make one of [seed, epoch].",
        swap=("default_rng([seed, epoch])", "default_rng()"))
mistake("samples are drawn with replacement", "rng.integers and rng.choice may draw a sample twice and leave another out. A permutation holds each once.",
        swap=("permutation(count)", "integers(0, count, count) if count else np.arange(0)"))
mistake("shuffle is ignored", "Validation and test need no shuffling: shuffle=False gives 0, 1, 2, …",
        swap=("if not shuffle:", "if False:"))
mistake("batches are shuffled instead of samples", "Neighbours stay together for ever, and in a sorted file they are all of one class. Permute the samples themselves.",
        swap=("    return np.random.default_rng([seed, epoch]).permutation(count)",
              "    blocks = np.array_split(np.arange(count), range(4, count, 4))\n"
              "    order = np.random.default_rng([seed, epoch]).permutation(len(blocks))\n"
              "    return np.concatenate([blocks[b] for b in order])"))
mistake("neighbours only change places among themselves", "The order is mixed inside small blocks, and the blocks stay where they are. Permute all samples at once.",
        swap=("    return np.random.default_rng([seed, epoch]).permutation(count)",
              "    rng, order = np.random.default_rng([seed, epoch]), np.arange(count)\n"
              "    return np.concatenate([rng.permutation(order[s:s + 5]) for s in range(0, count, 5)] or [order])"))

# %% [markdown] hints="epoch_order"
# Two cases. Without shuffling there is nothing random. With it, make a *new* generator in each call, of both numbers.
#
# ---
#
# `np.random.default_rng([seed, epoch])` makes a generator of the pair; `permutation(count)` draws an order from it. `np.arange(count)` counts up.
#
# ---
#
# ```python
# if not shuffle:
#     return np.arange(...)
# return np.random.default_rng([...]).permutation(...)
# ```

# %% [markdown]
# ### Exercise 6 ★★: a generator for each sample
#
# With two workers, nobody knows which of two samples is ready first. If both drew from one generator, the pixels would depend on that. So every sample gets its own in every epoch,
# made of three numbers. There is one trap in such lists:

# %% tags=["nbval-check-output"]
for a, b in [([5], [5, 0]), ([5, 1], [5, 1, 0]), ([5, 1, 1], [5, 1, 0, 1])]:
    same = np.random.default_rng(a).random() == np.random.default_rng(b).random()
    print(f"{a} and {b} give the same numbers: {same}")

# %% [markdown]
# Zeros at the end count for nothing. So `[seed, epoch, index]` with index 0 would repeat the generator of `epoch_order`. A fourth number that is not 0, the same for all, keeps them apart.

# %% exercise="sample_rng" points=2 stars=2
#| export data.loader
def sample_rng(seed, epoch, index):
    """Make the generator that augments sample index in an epoch.

    Args:
        seed, epoch, index: integers of at least 0.

    Returns:
        a new np.random.Generator; equal arguments give equal ones, all others differ, also
        from the generator np.random.default_rng([seed, epoch]).

    Source: NumPy documentation, "Parallel random number generation", "Sequence of integer seeds".
    """
    ### BEGIN SOLUTION a generator made of the three numbers, and of a last one that is not 0
    return np.random.default_rng([seed, epoch, index, 1])  # the 1: zeros at the end do not count
    ### END SOLUTION

# %%
check(sample_rng)

# %% probe="sample_rng"
def draws(sample_rng, triples):
    return [float(sample_rng(*triple).random()) for triple in triples]


def probe(sample_rng, rng):
    s, e, i = (int(n) for n in rng.integers(2, 50, 3))
    generator = sample_rng(s, e, i)
    yield "the type", type(generator).__name__
    first = float(generator.random())
    yield "the same arguments again", "the same" if first == sample_rng(s, e, i).random() else "another"
    numbers = [0, 1, 2, 3, 10, 11, 100, 1000, 10**4, 10**6]
    yield "how many of ten indices differ", len(set(draws(sample_rng, [(s, e, n) for n in numbers])))
    yield "how many of ten epochs differ", len(set(draws(sample_rng, [(s, n, i) for n in numbers])))
    yield "how many of ten seeds differ", len(set(draws(sample_rng, [(n, e, i) for n in numbers])))
    few = [0, 1, 3, 10]
    yield "how many of all 64 triples of 0, 1, 3, 10 differ", len(set(draws(
        sample_rng, [(a, b, c) for a in few for b in few for c in few])))
    large = set(draws(sample_rng, [(0, 0, n) for n in [10**k for k in range(1, 16)] + [2**k for k in range(2, 41)]]))
    for what, triple in [("epoch 1", (0, 1, 0)), ("seed 1", (1, 0, 0))]:
        yield f"sample 0 of {what}, and the samples 4, 8, 10, 16, … of epoch 0 and seed 0", (
            "different" if draws(sample_rng, [triple])[0] not in large else "one is the same")
    own = draws(sample_rng, [(a, b, 0) for a in few for b in few])
    orders = {float(np.random.default_rng([a, b]).random()) for a in few for b in few}
    yield "sample 0 and the order of its epoch", (
        "the same numbers" if any(one in orders for one in own) else "their own")

# %% mistakes="sample_rng"
mistake("the epoch is ignored", "A sample then looks the same in every epoch: the augmentation is drawn once for all, and no new pictures come.",
        swap=("[seed, epoch, index, 1]", "[seed, index, 1]"))
mistake("the index is ignored", "All samples of an epoch then get the same shift, the same turn, the same noise.",
        swap=("[seed, epoch, index, 1]", "[seed, epoch, 0, 1]"))
mistake("the seed is ignored", "Another seed should give another run.", swap=("[seed, epoch, index, 1]", "[epoch, index, 1]"))
mistake("the three numbers are added", "Sample 3 of epoch 0 then equals sample 2 of epoch 1. A list keeps the numbers apart.",
        swap=("[seed, epoch, index, 1]", "seed + epoch + index"))
mistake("the three numbers are multiplied", "Wherever one of them is 0, the product is 0, and the order of the factors does not matter. A list keeps them apart.",
        swap=("[seed, epoch, index, 1]", "seed * epoch * index"))
mistake("the numbers are glued into one with a fixed factor", "As soon as one of them reaches the factor, two samples share a generator. A list has no such limit.",
        swap=("[seed, epoch, index, 1]", "seed * 10000 + epoch * 100 + index"))
mistake("sample 0 repeats the generator of the order", "Zeros at the end of the list count for nothing, so index 0 gives what [seed, epoch] gives. "
        "Append a number that is not 0.", swap=("[seed, epoch, index, 1]", "[seed, epoch, index]"))
mistake("the generator cannot be repeated", "default_rng() without numbers is different in every call.",
        swap=("default_rng([seed, epoch, index, 1])", "default_rng()"))
mistake("the old kind of generator is made", "np.random.RandomState is NumPy's older generator, with other methods. The course uses np.random.default_rng.",
        swap=("np.random.default_rng([seed, epoch, index, 1])", "np.random.RandomState([seed, epoch, index, 1])"))

# %% [markdown] hints="sample_rng"
# As in `epoch_order`, but of three numbers. And mind the trap with zeros at the end.
#
# ---
#
# `np.random.default_rng` takes a list of as many integers as you like. Add a last one that is never 0.
#
# ---
#
# ```python
# return np.random.default_rng([seed, ..., ..., 1])
# ```

# %% [markdown]
# ### Exercise 7 ★★★: work ahead, in order
#
# While the network computes, a *worker thread* can read and decode the next files. `ThreadPoolExecutor` of the standard library keeps such threads:
# `pool.submit(f, item)` returns at once, with a *future*; `future.result()` waits for it, and raises what `f` raised.
#
# A good prefetch gives the results *in order*, whoever finishes first. And when the caller stops early, it leaves no thread behind: a `finally` block in a generator runs then too.
#
# How far ahead? One rule: when a result is handed out, `ahead` further items have been submitted, and at the end as many as there are. With fewer, workers idle; with more, a large folder
# would fill the memory. Five items with `ahead=2`, in a queue of futures whose oldest is on the left:
#
# ```
# submitted   queue     handed out   further
# 0 1 2       [0 1 2]   0            1 2
# 3           [1 2 3]   1            2 3
# 4           [2 3 4]   2            3 4
#             [3 4]     3            4
#             [4]       4
# ```
#
# The case without workers is given. So this exercise can wait, and whoever leaves it sets `workers=0` in the cells below.

# %% exercise="prefetch_map" points=4 stars=3 seeds=3
#| export data.loader
def prefetch_map(function, items, workers, ahead):
    """Yield function(item) for each item, in order, while threads work in advance.

    Args:
        function: called as function(item), in a worker thread; what it raises is raised here.
        items: any iterable, also an endless one; an item is submitted as soon as it is taken.
        workers: the number of threads; 0 calls function in the caller's thread when asked.
        ahead: how many further items are submitted when a result is handed out; at least 1.

    Closing the generator early waits for the calls that run, and leaves no thread behind.
    """
    if workers == 0:
        yield from map(function, items)
        return
    ### BEGIN SOLUTION submit each item; once more than ahead wait, yield the oldest's result; then the rest
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # and waits for what already runs
    ### END SOLUTION

# %%
check(prefetch_map)

# %% probe="prefetch_map"
import threading
import time


def fails_at(place):
    def work(item):
        if item == place:
            raise ValueError(f"item {item} is broken")
        return item

    return work


def slow(item):
    time.sleep(0.01)
    return item


def threads_at_work(prefetch_map, workers):
    """How many threads a stream has while its calls wait until seven are submitted."""
    before, go, taken, seen = set(threading.enumerate()), threading.Event(), [], []

    def items():
        for item in range(9):
            taken.append(item)
            if item == 7:
                seen.append(len(set(threading.enumerate()) - before))
                go.set()
            yield item

    def work(item):
        count = -1
        while not go.is_set() and count < len(taken):  # go on where no further item is taken
            count = len(taken)
            go.wait(0.15)
        go.set()
        return item

    for _ in prefetch_map(work, items(), workers, 8):
        pass
    return seen[0] if seen else 0


def until_error(stream):
    count = 0
    try:
        for _ in stream:
            count += 1
    except Exception as error:
        return f"{count} results, then {type(error).__name__}: {error}"
    return f"{count} results, and no error"


def probe(prefetch_map, rng):
    count, workers, ahead = 24, int(rng.integers(2, 4)), int(rng.integers(3, 6))
    threads = threads_at_work(prefetch_map, workers)
    yield "threads at work", (
        "as many as workers" if threads == workers else "one" if threads == 1
        else "fewer" if threads < workers else "more than workers")
    taken, elsewhere, done, home = [], set(), threading.Event(), threading.current_thread()

    def items():
        for item in range(count):
            taken.append(item)
            yield item

    def work(item):
        elsewhere.add(threading.current_thread() is not home)
        late = time.monotonic() + 0.3
        while item == 0 and elsewhere == {True} and len(taken) == 1 and time.monotonic() < late:
            time.sleep(0.002)  # the first item takes longest, if a second one may run beside it
        if item == 0 and elsewhere == {True} and len(taken) > 1 and threads > 1:
            done.wait(2)
            time.sleep(0.03)
            if len(taken) == count:  # all submitted at once: let whoever collects them begin
                time.sleep(0.1)
        if item == 1:
            done.set()
        return 10.0 * item + 1

    stream = prefetch_map(work, items(), workers, ahead)
    results, most, least, early = [], 0, count, 0
    for result in stream:
        if not results:
            early = len(taken)
        results.append(result)
        most = max(most, len(taken) - len(results))
        least = min(least, len(taken) - len(results)) if len(taken) < count else least
    yield "the number of results", len(results)
    yield "the type of a result", type(results[0]).__name__ if results else "there is none"
    yield "the thread that works", "a worker" if elsewhere == {True} else "the caller"
    yield "items taken when the first result comes", (
        "one: nothing is done ahead" if early <= 1 else "all of them" if early == count else "some")
    yield "further items taken when a result comes, at most", (
        "ahead" if most == ahead else "fewer than ahead" if most < ahead else "more than ahead")
    yield "items in work whenever a result comes, but for the last ones", (
        "some" if least > 0 else "sometimes none")
    yield "the results, sorted", np.sort(np.array(results, dtype=float))
    ordered = all(a < b for a, b in zip(results, results[1:]))
    newest = early < count and results[:1] == [10.0 * (early - 1) + 1]
    yield "the order of the results", (
        "that of the items" if ordered else "the newest first" if newest else "another")
    yield "an error in item 7", until_error(prefetch_map(fails_at(7), range(count), workers, ahead))
    yield "the results of fewer items than ahead", np.array(
        list(prefetch_map(abs, [-1, -2], workers, ahead)), dtype=float)
    yield "the number of results of no items", len(list(prefetch_map(abs, [], workers, ahead)))
    yield "the results of one worker, one ahead", np.array(
        list(prefetch_map(abs, [-3, -4, -5], 1, 1)), dtype=float)
    before = set(threading.enumerate())
    stream = prefetch_map(slow, range(count), workers, ahead)
    yield "the first result before closing", next(stream, "there is none")
    stream.close()
    left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
    yield "threads after closing early", "none" if not left else "some still run"

# %% mistakes="prefetch_map"
mistake("the results come as they finish", "as_completed hands out whatever is ready first, so the order depends on luck. Ask the futures in the order in which you submitted them.",
        swap=("""        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
""", """        from concurrent.futures import as_completed
        for future in as_completed([pool.submit(function, item) for item in items]):
            yield future.result()
"""))
mistake("all items are submitted at once", "A folder of a million files would be in memory before the first batch is used, and an endless iterable never gets there. "
        "Hand out a result as soon as more than ahead are waiting.",
        swap=("""        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
""", """        for item in items:
            waiting.append(pool.submit(function, item))
"""))
mistake("each result is waited for at once", "submit(…).result() waits for the item it has just handed over, so nothing runs ahead. Let several futures wait in a queue.",
        swap=("if len(waiting) > ahead:", "if True:"))
mistake("a new round begins only when the last one is used up", "While the last results of a round are used, nobody works. For each result that goes out, one new item goes in.",
        swap=("""            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while""", """            if len(waiting) > ahead:
                while waiting:
                    yield waiting.popleft().result()
        while"""))
mistake("the last results are lost", "When the items end, futures are still waiting. Yield their results too.",
        swap=("""        while waiting:
            yield waiting.popleft().result()
""", ""))
mistake("the newest result is handed out first", "pop() takes from the right end, where you append. The oldest future is on the left: popleft().",
        swap=("""                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()""", """                yield waiting.pop().result()
        while waiting:
            yield waiting.pop().result()"""))
mistake("threads are left behind after an early end", "break closes the generator where it stands, at a yield. Only what is in a finally block, or a with block, still runs; there the pool has to be shut "
        "down, and waited for.", swap=("pool.shutdown(cancel_futures=True)  # and waits for what already runs", "pool.shutdown(wait=False, cancel_futures=True)"))
mistake("items whose function failed are left out", "An error that is swallowed here becomes a sample that silently never comes. Let result() raise it.",
        swap=("""                yield waiting.popleft().result()
        while""", """                if waiting[0].exception() is None:
                    yield waiting[0].result()
                waiting.popleft()
        while"""))
mistake("the function is called before it is submitted", "submit(function(item)) computes here and now, and then submits the result as if it were a function. Pass both: submit(function, item).",
        swap=("pool.submit(function, item)", "pool.submit(lambda done: done, function(item))"))
mistake("the function's result is submitted in its place", "submit(function(item)) computes here and now, and then submits the result as if it were a function. Pass both: submit(function, item).",
        swap=("pool.submit(function, item)", "pool.submit(function(item))"))
mistake("one item fewer than ahead is in work", "When a result goes out, ahead others are to be in work; with ahead = 1 nothing overlaps here. Before the oldest goes out, the queue holds ahead + 1.",
        swap=("if len(waiting) > ahead:", "if len(waiting) >= ahead:"))
mistake("the number of workers is left to the pool", "ThreadPoolExecutor() picks a number by itself, from the cores it sees. Hand workers on.",
        swap=("ThreadPoolExecutor(workers)", "ThreadPoolExecutor()"))
mistake("only one thread works", "A single thread reads one file after the other, whatever workers says. Hand workers on to the pool.",
        swap=("ThreadPoolExecutor(workers)", "ThreadPoolExecutor(1)"))
mistake("the results are returned instead of yielded", "This function contains a yield, so it is a generator, and a for loop never sees what its return gives. Yield the results one by one. "
        "And a list of all of them is not ahead by a few items: it is everything at once.",
        swap=("""        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
""", """        return list(pool.map(function, items))
"""))
mistake("futures are handed out instead of results", "A future is only a promise. result() waits for it and returns the value.",
        swap=("""                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()""", """                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()"""))

# %% [markdown] hints="prefetch_map"
# Keep the futures in a queue, oldest on the left. Every new item goes in on the right; as soon as the queue is longer than `ahead`, the oldest result goes out.
#
# ---
#
# `deque()` has `append` and `popleft`. After the loop over the items, the queue is not yet empty. All of it stands in `try: … finally:`, and finally shuts the pool down:
# `pool.shutdown(cancel_futures=True)` drops what has not begun and waits for what runs.
#
# ---
#
# ```python
# pool, waiting = ThreadPoolExecutor(workers), deque()
# try:
#     for item in items:
#         waiting.append(pool.submit(..., ...))
#         if len(waiting) > ...:
#             yield ...
#     while waiting:
#         yield ...
# finally:
#     pool.shutdown(...)
# ```

# %% [markdown]
# ### Exercise 8 ★★: the loader
#
# The base class is given. It keeps the settings, fetches a sample with its own generator, names the sample where that fails, and saves its state: the epoch, and the settings that all else follows from.

# %%
#| export data.loader
class LoaderBase:
    """Settings and state of a loader: which dataset, which batches, which epoch comes next.

    Raises:
        ValueError: where a number is out of its range.
    """

    def __init__(self, dataset, batch_size, *, shuffle=False, drop_last=False, workers=0,
                 prefetch=2, seed=0):
        for name, value, least in [("batch_size", batch_size, 1), ("workers", workers, 0),
                                   ("prefetch", prefetch, 1), ("seed", seed, 0)]:
            if value != int(value) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, "
                                 f"received {value}")
        self.dataset, self.batch_size, self.seed = dataset, int(batch_size), int(seed)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.workers, self.prefetch = int(workers), int(prefetch)
        self.epoch = 0  # of the pass that begins next

    def sample(self, epoch, index):
        """Fetch (x, y) of a sample with its own generator; an error names the sample."""
        try:
            return self.dataset.sample(index, sample_rng(self.seed, epoch, index))
        except NotImplementedError:  # an exercise that is still blank speaks for itself
            raise
        except Exception as error:
            raise RuntimeError(f"{self.dataset.name_of(index)} could not be loaded: "
                               f"{type(error).__name__}: {error}") from error

    def state_dict(self):
        """Return all that the coming batches depend on besides the samples themselves."""
        return {"epoch": self.epoch, "seed": self.seed, "batch_size": self.batch_size,
                "shuffle": self.shuffle, "drop_last": self.drop_last,
                "samples": len(self.dataset)}

    def load_state_dict(self, state):
        """Continue at the epoch and with the seed of a state_dict.

        Raises:
            ValueError: naming each entry that is missing, unknown, or set otherwise here.
        """
        own = self.state_dict()
        wrong = [f"{name} is missing" for name in own if name not in state]
        wrong += [f"{name} is unknown" for name in state if name not in own]
        wrong += [f"{name} is {state[name]} there and {own[name]} here" for name in own
                  if name not in ("epoch", "seed") and state.get(name, own[name]) != own[name]]
        if wrong:
            raise ValueError(f"the state does not fit this loader: {'; '.join(wrong)}: "
                             "build the loader as it was")
        self.epoch, self.seed = int(state["epoch"]), int(state["seed"])

# %% [markdown]
# Yours are three methods. `len(loader)` is the number of *batches*. `load` fetches each sample of a batch once, with the epoch that it is told, and stacks them along a new first axis (`np.stack`). `__iter__` is a generator: each
# `for` calls it anew, and that is one epoch. Count `self.epoch` up at the *start*, so that a pass that was broken off is not repeated.

# %% exercise="NyangDataLoader" points=4 stars=2
#| export data.loader
class NyangDataLoader(LoaderBase):
    """Batches of a dataset: for x, y in loader, with x (B, …) and y (B, …), one pass an epoch.

    Args:
        dataset: a NyangDataset.
        batch_size: samples in a batch; the last one may be smaller, unless drop_last.
        shuffle: visit the samples in a new order each epoch.
        workers: threads that load batches in advance; the batches do not depend on it.
        prefetch: how many batches each worker may be ahead.
        seed: with the epoch it decides the order, with the index too the augmentation.
    """

    def __len__(self):
        """Return the number of batches of an epoch."""
        ### BEGIN SOLUTION full batches, and the rest unless it is dropped
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + int(rest > 0 and not self.drop_last)
        ### END SOLUTION

    def load(self, epoch, indices):
        """Fetch the samples of one batch and stack them: x (B, …), y (B, …)."""
        ### BEGIN SOLUTION self.sample(epoch, index) for each; stack all x, stack all y
        x, y = zip(*[self.sample(epoch, int(index)) for index in indices])
        return np.stack(x), np.stack(y)
        ### END SOLUTION

    def __iter__(self):
        """Yield (x, y) batch after batch; the pass counts as an epoch once it has begun."""
        ### BEGIN SOLUTION count the epoch, get its order, cut it into batches
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)
        batches = [order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]
        ### END SOLUTION
        ahead = self.prefetch * max(self.workers, 1)
        yield from prefetch_map(partial(self.load, epoch), batches, self.workers, ahead)

# %%
check(NyangDataLoader)

# %% probe="NyangDataLoader"
class Numbers(NyangDataset):
    """Sample i is ([i, a random number], 3 · i), or with a one-hot row."""

    def __init__(self, count, rows=False):
        self.count, self.rows, self.calls = count, rows, 0

    def __len__(self):
        return self.count

    def sample(self, index, rng):
        self.calls += 1
        x = np.array([index, 100 + rng.random()], np.float32)
        return x, np.eye(2, dtype=np.float32)[index % 2] if self.rows else np.int64(3 * index)


def passes(loader):
    """All x, all y, and the batch sizes of one pass."""
    x, y = zip(*((np.array(x, dtype=object), np.array(y, dtype=object)) for x, y in loader))
    return (np.concatenate([a.reshape(len(a), -1) for a in x]).astype(float),
            np.concatenate([a.reshape(len(a), -1)[:, 0] for a in y]), np.array([len(a) for a in x]))


def whose_order(loader, x):
    """Which call of the student's own epoch_order gives the order of these samples."""
    order = type(loader).__iter__.__globals__.get("epoch_order", epoch_order)
    count, seed = len(loader.dataset), loader.seed
    calls = [(f"epoch {e}", (e, seed)) for e in range(4)]
    calls += [("seed and epoch swapped", (seed, e)) for e in range(2)]
    return next((name for name, (e, s) in calls if np.array_equal(order(count, e, s), x)), "another")


def whose_pixels(loader, x):
    """With which epoch loader.sample gives the random parts of these samples."""
    indices = [int(index) for index in x[:3, 0]]
    for epoch in range(3):
        if all(loader.sample(epoch, i)[0][1] == value for i, value in zip(indices, x[:, 1])):
            return f"epoch {epoch}"
    return "another"


def interrupted(loader):
    """The samples of a pass that goes on after another pass over the loader has begun."""
    first = iter(loader)
    parts = [next(first)[0]]
    next(iter(loader))
    parts += [x for x, _ in first]
    return np.concatenate([np.reshape(x, (len(x), -1)) for x in parts])


def pixels_of(x):
    return {int(index): value for index, value in x}


def probe(NyangDataLoader, rng):
    size, seed = int(rng.integers(3, 6)), int(rng.integers(10**5))
    count = size * int(rng.integers(4, 7)) + int(rng.integers(1, size))
    data = Numbers(count)
    plain = NyangDataLoader(data, size)
    yield "len(loader)", len(plain)
    yield "len(loader) with drop_last", len(NyangDataLoader(data, size, drop_last=True))
    yield "len(loader) where the batches fit", len(NyangDataLoader(Numbers(4 * size), size))
    yield "len(loader) of a dataset below one batch", len(NyangDataLoader(Numbers(2), size))
    x, y = next(iter(plain))
    kinds = ", ".join(type(one).__name__ for one in (x, y))
    yield "the types of x and y", kinds
    yield "the shape of x", str(np.shape(x))
    yield "the dtype of x", str(np.asarray(x).dtype)
    yield "the shape of y with class numbers", str(np.shape(y))
    yield "the dtype of y with class numbers", str(np.asarray(y).dtype)
    rows = next(iter(NyangDataLoader(Numbers(count, rows=True), size)))
    yield "y with one-hot rows", rows[1]
    plain = NyangDataLoader(data, size)
    x, y, sizes = passes(plain)
    yield "the size of each batch", sizes
    yield "the samples without shuffle", x[:, 0]
    yield "the size of each batch with drop_last", passes(
        NyangDataLoader(data, size, drop_last=True))[2]
    before = data.calls
    again = list(plain)
    yield "how many batches a second pass has", len(again)
    yield "how often a sample is fetched in a pass", (data.calls - before) / count
    loader = NyangDataLoader(data, size, shuffle=True, seed=seed)
    x, y, _ = passes(loader)
    yield "each sample with shuffle, sorted", np.sort(x[:, 0])
    yield "the label of each sample", (
        "its own" if np.array_equal(y.astype(float), 3 * x[:, 0]) else "another's")
    yield "the order of the first pass is that of epoch_order for", whose_order(loader, x[:, 0])
    yield "the random parts of the first pass are those of self.sample for", whose_pixels(loader, x)
    beside = NyangDataLoader(data, size, shuffle=True, seed=seed)
    yield "the random parts of the first pass, after a second one has begun, are those for", (
        whose_pixels(beside, interrupted(beside)[size:]))
    firsts = x[:size, 0]
    yield "the first batch with shuffle", (
        "the first of the file" if set(firsts) == set(range(size))
        else "neighbours" if np.ptp(firsts) < size else "from all over")
    yield "loader.epoch after a pass", loader.epoch
    next(iter(loader))
    yield "loader.epoch after a pass that was broken off", loader.epoch
    third = passes(loader)[0]
    yield "the order of the next pass", "the same" if np.array_equal(x[:, 0], third[:, 0]) else "another"
    a, b = pixels_of(x), pixels_of(third)
    yield "the random part of a sample in the next pass", (
        "the same" if all(a[i] == b[i] for i in a if i in b) else "another")
    yield "the random parts within a pass", "all differ" if len(set(a.values())) == len(a) else "equal ones"
    replay = passes(NyangDataLoader(data, size, shuffle=True, seed=seed))[0]
    yield "a new loader with the same seed", "the same batches" if np.array_equal(x, replay) else "others"
    other = passes(NyangDataLoader(data, size, shuffle=True, seed=seed + 1))[0]
    yield "a new loader with another seed", "the same batches" if np.array_equal(x, other) else "others"
    resumed = NyangDataLoader(data, size, shuffle=True)
    resumed.load_state_dict(loader.state_dict())
    yield "a pass after resuming", (
        "as if never stopped" if np.array_equal(passes(resumed)[0], passes(loader)[0]) else "another")

# %% mistakes="NyangDataLoader"
mistake("the last, smaller batch is dropped", "Its samples belong to the epoch too. Only drop_last=True leaves them out.",
        swap=("int(rest > 0 and not self.drop_last)", "0"))
mistake("drop_last is ignored", "With drop_last=True only full batches count, in len and in the pass.",
        swap=("int(rest > 0 and not self.drop_last)", "int(rest > 0)"))
mistake("the length counts samples", "len(loader) is the number of batches. len(loader.dataset) counts samples.",
        swap=("""        return full + int(rest > 0 and not self.drop_last)""", """        return len(self.dataset)"""))
mistake("a batch too many is counted where the batches fit", "Where batch_size divides the number of samples there is no rest, and no further batch.",
        swap=("int(rest > 0 and not self.drop_last)", "int(not self.drop_last)"))
mistake("every epoch has the same order", "The epoch of this pass has to go into epoch_order, and self.epoch has to count up.",
        swap=("epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)", "epoch_order(len(self.dataset), 0, self.seed, self.shuffle)"))
mistake("the epochs are never counted", "self.epoch stays at 0, so every pass repeats the first one: order and augmentation.",
        swap=("epoch, self.epoch = self.epoch, self.epoch + 1", "epoch = self.epoch"))
mistake("a sample is augmented in the same way in every epoch", "load gets the epoch. Hand it on to self.sample, or the transform is drawn once for all.",
        swap=("self.sample(epoch, int(index))", "self.sample(0, int(index))"))
mistake("shuffle is ignored", "epoch_order needs to know: hand self.shuffle on.",
        swap=("self.seed, self.shuffle)", "self.seed, False)"))
mistake("the samples are always shuffled", "With shuffle=False the order is 0, 1, 2, …: hand self.shuffle on.",
        swap=("self.seed, self.shuffle)", "self.seed, True)"))
mistake("batches are shuffled instead of samples", "The same neighbours always come together. Cut batches out of the shuffled order; do not shuffle batches cut out of the file.",
        swap=("        order = epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)\n        batches = [order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]\n",
              "        order = np.arange(len(self.dataset))\n        batches = [order[b * self.batch_size:][:self.batch_size] for b in\n"
              "                   epoch_order(len(self), epoch, self.seed, self.shuffle)]\n"))
mistake("the samples are joined instead of stacked", "np.concatenate glues samples together along an axis that they have. A batch needs a new first axis: np.stack.",
        swap=("return np.stack(x), np.stack(y)", "return np.concatenate(x), np.array(y)"))
mistake("lists are returned instead of arrays", "A layer wants one array for the batch: np.stack of all x, and of all y.",
        swap=("return np.stack(x), np.stack(y)", "return list(x), list(y)"))
mistake("the labels become a column", "np.vstack makes (B, 1) of B numbers. Stacked along a new first axis, class numbers are (B,): np.stack.",
        swap=("np.stack(x), np.stack(y)", "np.stack(x), np.vstack(y)"))
mistake("the samples are shared out evenly over the batches", "np.array_split makes batches of nearly equal size. Here all have batch_size samples, and the last one what is left.",
        swap=("[order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]", "np.array_split(order, len(self))"))
mistake("drop_last counts in len only", "A pass has to have len(loader) batches, so without the last one where drop_last is set.",
        swap=("for b in range(len(self))]", "for b in range(-(-len(order) // self.batch_size))]"))
mistake("the length is a float", "np.ceil returns a float, and len wants a whole number. divmod stays with integers.",
        swap=("return full + int(rest > 0 and not self.drop_last)", "return np.float64(full + int(rest > 0 and not self.drop_last))"))
mistake("x becomes float64", "The samples came in float32, and np.stack keeps that. No other dtype is needed.",
        swap=("np.stack(x), np.stack(y)", "np.stack(x).astype(float), np.stack(y)"))
mistake("a pass that was broken off is repeated", "self.epoch counts up only after the last batch, which a break never reaches. Count at the start.",
        swap=("""        epoch, self.epoch = self.epoch, self.epoch + 1
        order = epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)
        batches = [order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]
        ahead = self.prefetch * max(self.workers, 1)
        yield from prefetch_map(partial(self.load, epoch), batches, self.workers, ahead)""",
              """        epoch = self.epoch
        order = epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)
        batches = [order[b * self.batch_size:][:self.batch_size] for b in range(len(self))]
        ahead = self.prefetch * max(self.workers, 1)
        yield from prefetch_map(partial(self.load, epoch), batches, self.workers, ahead)
        self.epoch += 1"""))
mistake("the labels become float32", "A label keeps the dtype that its sample has: class numbers stay whole numbers, as the loss wants them. np.stack changes nothing.",
        swap=("return np.stack(x), np.stack(y)", "return np.stack(x), np.stack(y).astype(np.float32)"))
mistake("each sample is fetched twice", "Once for x and once for y: every file is read, decoded and augmented two times. Fetch the pair once, then take it apart: zip(*pairs).",
        swap=("        x, y = zip(*[self.sample(epoch, int(index)) for index in indices])\n",
              "        x = [self.sample(epoch, int(index))[0] for index in indices]\n"
              "        y = [self.sample(epoch, int(index))[1] for index in indices]\n"))
mistake("epoch 0 never runs", "self.epoch is the number of the pass that begins now. Keep it in a name first, then count up.",
        swap=("epoch, self.epoch = self.epoch, self.epoch + 1", "self.epoch += 1; epoch = self.epoch"))
mistake("seed and epoch are swapped", "epoch_order takes count, epoch, seed, in this order; here each stands in the other's place.",
        swap=("epoch_order(len(self.dataset), epoch, self.seed, self.shuffle)", "epoch_order(len(self.dataset), self.seed, epoch, self.shuffle)"))
mistake("load reads the loader's epoch instead of its own", "self.epoch belongs to the pass that begins next, and any further pass moves it on. load is told the epoch of its pass: use that.",
        swap=("self.sample(epoch, int(index))", "self.sample(self.epoch, int(index))"))
mistake("load works its epoch out from the loader's next one", "self.epoch belongs to the pass that begins next, and any further pass moves it on. load is told the epoch of its pass: use that.",
        swap=("self.sample(epoch, int(index))", "self.sample(self.epoch - 1, int(index))"))
mistake("each batch starts one sample after the one before", "Batch b begins at b · batch_size.",
        swap=("order[b * self.batch_size:]", "order[b:]"))

@mistake("the loader is used up after one pass", "A generator runs once. Make the batches in __iter__ itself, which every for loop calls anew, "
         "and not in one generator that is kept.")
class NyangDataLoader(reference):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stream = reference.__iter__(self)

    def __iter__(self):
        return self.stream

@mistake("the labels are those of the file's order", "x and y of a sample must stay together: self.sample returns both, for the same index.")
class NyangDataLoader(reference):
    def __iter__(self):
        seen = 0
        for x, _ in reference.__iter__(self):
            own = [self.sample(0, i)[1] for i in range(seen, seen + len(x))]
            yield x, np.stack(own)
            seen += len(x)

# %% [markdown] hints="NyangDataLoader"
# All that is hard has been done: `epoch_order` gives the order, `self.sample` the samples, `prefetch_map` works ahead. Here indices are cut into batches.
#
# ---
#
# `divmod(N, batch_size)` gives the number of full batches and the rest. Batch b is `order[b · batch_size : (b + 1) · batch_size]`. `zip(*pairs)` turns a list of (x, y) into all x
# and all y.
#
# ---
#
# ```python
# # __len__
# full, rest = divmod(len(self.dataset), self.batch_size)
# return full + int(... and not ...)
#
# # load
# x, y = zip(*[self.sample(epoch, int(index)) for index in indices])
# return np.stack(...), ...
#
# # __iter__
# epoch, self.epoch = self.epoch, ...
# order = epoch_order(...)
# batches = [order[...] for b in range(len(self))]
# ```

# %% [markdown]
# The test that the design is for: each sample is a number plus noise from its own generator. Do 0, 1 and 3 workers give the same batches? Does a new loader, told the state, continue the run?

# %% tags=["nbval-check-output"]
def noisy(x, rng):
    return x + rng.normal(size=np.shape(x))


def epochs_of(workers, count=2, state=None):
    loader = NyangDataLoader(ArrayDataset(np.arange(10.0), np.arange(10), noisy), 4, shuffle=True, workers=workers)
    if state:
        loader.load_state_dict(state)
    return [x.tolist() for _ in range(count) for x, _ in loader], loader.state_dict()


batches, _ = epochs_of(0)
print("three batches an epoch, of", [len(x) for x in batches[:3]])
same = {w: epochs_of(w)[0] == batches for w in (1, 3)} if batches else {}
print("the same with workers, bit for bit:", same)
_, state = epochs_of(0, count=1)
print("resumed after the first epoch, the same second one:", epochs_of(0, 1, state)[0] == batches[3:])

# %% [markdown]
# ## Augmentation: new pictures from old ones
#
# A cat moved by three pixels is a cat. *Augmentation* shows the network such variants, new ones in each epoch. The library albumentations moves the pixels. Three things are up to us.
# All randomness comes from the sample's generator. Only mode "train" augments: validation and test measure the same pictures every time. And boxes and masks move *with* their image.
#
# (A `Compose` of albumentations keeps notes while it works, so two threads must not share one: hence `threading.local`.)

# %%
#| export data.transforms
def load_albumentations():
    """Import albumentations when it is needed: it takes seconds. It must not look for updates."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations


def channel_stats(images):
    """Measure mean and std of each channel over all pixels of all images, on a scale of 0 to 1.

    Args:
        images: an iterable of uint8 images (H, W, C) or (H, W), of any sizes.

    Returns:
        mean (C,) and std (C,), float32; a constant channel has std 1.

    Raises:
        ValueError: where there is no image.
    """
    sums = [(x.mean(axis=(1, 2)), (x**2).mean(axis=(1, 2)), x[0].size)
            for x in (image_to_array(image).astype(np.float64) for image in images)]
    if not sums:
        raise ValueError("channel_stats needs at least one image, received none")
    means, squares, sizes = map(np.array, zip(*sums))
    mean = np.average(means, axis=0, weights=sizes)
    std = np.sqrt(np.maximum(np.average(squares, axis=0, weights=sizes) - mean**2, 0))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


class NyangTransform:
    """Turn a stored image into a network's input: x = (steps(image) / 255 - mean) / std.

    Args:
        make_steps: called without arguments in each thread; returns albumentations' steps.
        mean, std: numbers, or one for each channel.

    Shapes: image (H, W, C) or (H, W) uint8 → x (C, size, size) float32.
    """

    def __init__(self, make_steps, mean=0.0, std=1.0):
        self.make_steps, self.own = make_steps, threading.local()
        self.mean, self.std = (np.reshape(np.asarray(one, np.float32), (-1, 1, 1))
                               for one in (mean, std))  # (C, 1, 1)

    def __call__(self, image, rng):
        """Return x; whatever is random about it is drawn from rng."""
        return self.apply(image, rng)["x"]

    def apply(self, image, rng, mask=None, boxes=None):
        """Move a mask (H, W) and boxes (M, 4), x0 y0 x1 y1 in pixels, along with the image.

        Returns:
            a dict of x, mask, boxes, and kept: the places, among the boxes given, of those
            that are still in the picture.
        """
        boxes = np.zeros((0, 4)) if boxes is None else np.asarray(boxes, float)
        extra = {} if mask is None else {"mask": np.asarray(mask, np.uint8)}
        compose = self.compose()
        compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        made = compose(image=image, bboxes=boxes, kept=np.arange(len(boxes)), **extra)
        if mask is not None:
            mask = made["mask"].astype(np.asarray(mask).dtype)
        return {"x": (image_to_array(made["image"]) - self.mean) / self.std, "mask": mask,
                "boxes": np.reshape(made["bboxes"], (-1, 4)).astype(np.float32),
                "kept": np.asarray(made["kept"], int)}

    def compose(self):
        """Return this thread's own Compose, made on first use."""
        if not hasattr(self.own, "compose"):
            A = load_albumentations()
            boxes = A.BboxParams("pascal_voc", ["kept"], min_visibility=0.2, clip=True)
            self.own.compose = A.Compose(self.make_steps(), bbox_params=boxes)
        return self.own.compose

# %% [markdown]
# `nyang_transforms` picks the steps for a mode. In training: mirror, shift/scale/turn, brightness and contrast, noise. Digits must not be mirrored, so `flip` can be switched off; `fill` is what comes in at the rim.

# %%
#| export data.transforms
def nyang_transforms(mode, size, *, mean=0.0, std=1.0, flip=True, turn=15, shift=0.1, scale=0.15,
                     light=0.2, noise=0.05, fill=127):
    """Make the transform of a mode: "train" resizes and augments, "valid" and "test" resize only.

    Args:
        size: height and width of x.
        mean, std: for x = (image / 255 - mean) / std; measured on training images only.
        flip: whether to mirror left and right, half of the time.
        turn, shift, scale, light, noise: the largest turn in degrees, and the largest changes as
            shares of the size, of 1, of full brightness and contrast, and of 255.
        fill: the grey, 0 to 255, of what comes in from outside.

    Raises:
        ValueError: where mode is none of the three, or size is below 1.
    """
    if mode not in DATA_MODES or size < 1:
        raise ValueError(f"nyang_transforms takes a mode of {DATA_MODES} and a size of at least "
                         f"1, received {mode!r} and {size}")

    def steps():
        A = load_albumentations()
        if mode != "train":
            return [A.Resize(size, size)]
        move = {"scale": (1 - scale, 1 + scale), "translate_percent": (-shift, shift)}
        return [A.Resize(size, size), A.HorizontalFlip(p=0.5 if flip else 0),
                A.Affine(rotate=(-turn, turn), fill=fill, **move, p=1),
                A.RandomBrightnessContrast(light, light, p=0.5),
                A.GaussNoise(std_range=(0, noise), p=0.3)]

    return NyangTransform(steps, mean, std)

# %% [markdown]
# Drawn cats and dogs serve as photos. Left the image, then what training sees of it in five epochs, then what validation sees in two.

# %%
animals, kinds, masks, boxes = draw_cats_dogs(6, size=64, seed=3)
train_view, valid_view = nyang_transforms("train", 64), nyang_transforms("valid", 64)
seen = [[*(train_view(a, sample_rng(0, e, i)) for e in range(5)),
         *(valid_view(a, sample_rng(0, e, i)) for e in range(2))] for i, a in enumerate(animals[:3])]
fig = nyang_images_grid(animals[:3], kinds[:3], ["cat", "dog"], after=seen)
titles = [*(f"epoch {e}" for e in range(5)), "validation", "validation"]
for ax, title in zip(fig.axes[1:], titles):
    ax.set_title(title)
plt.show()
same = {name: np.array_equal(seen[0][first], seen[0][second]) for name, first, second in
        [("training", 0, 1), ("validation", 5, 6)]}
print("the same picture in two epochs:", same)

# %% [markdown]
# With mask and box the same moves must hold. The generator of the drawings knows both. If box and mask fit the *moved* animal, they have followed.

# %%
fig, axes = plt.subplots(2, 6, figsize=(10, 3.5))
for i, (before, after) in enumerate(axes.T):
    moved = train_view.apply(animals[i], sample_rng(0, 1, i), masks[i], boxes[i:i + 1])
    for ax, picture, mask, frames in [(before, animals[i], masks[i], boxes[i:i + 1]),
                                      (after, moved["x"].transpose(1, 2, 0), moved["mask"], moved["boxes"])]:
        ax.imshow(picture)
        for width, line, frame in [(4, "white", "white"), (1.8, ORANGE, BLUE)]:  # a white rim below
            ax.contour(mask, levels=[0.5], colors=line, linewidths=width)
            for x0, y0, x1, y1 in frames:
                ax.add_patch(plt.Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False,
                                           edgecolor=frame, linewidth=width))
        ax.axis("off")
plt.show()

# %% [markdown]
# Top: as drawn, with its mask (orange) and box (blue). Bottom: augmented, all three by one call. A turned box is the upright frame around the turned box, so it can sit less tightly than before.
#
# The control shows one batch of a shuffled loader. Change the epoch: other animals, in other poses. Then change the number of workers. What happens, and why is that good news?

# %%
from ipywidgets import IntSlider, interact

show_loader = [NyangDataLoader(ArrayDataset(animals, kinds, train_view), 6, shuffle=True, workers=w) for w in range(4)]


def one_batch(epoch=0, workers=0):
    loader = show_loader[workers]
    loader.epoch = epoch
    x, y = next(iter(loader))
    nyang_images_grid(x, y, ["cat", "dog"], columns=6)
    plt.show()


interact(one_batch, epoch=IntSlider(value=0, max=9), workers=IntSlider(value=0, max=3));

# %% [markdown]
# ## A folder of images
#
# The dogs-vs-cats data set is a folder of photos named cat.0.jpg, dog.0.jpg, and so on. Our drawn animals are written in the same layout, so this code reads the real folder as well. `NyangNyangDataset` lists the files, splits them,
# and reads a file when its sample is asked for. Look for your own functions in it.

# %%
#| export data.dataset
DATA_MODES = ("train", "valid", "test")


class NyangNyangDataset(NyangDataset):
    """Images in a folder: sample i is (x (C, H, W) float32, one-hot label (classes,) float32).

    Args:
        data_root: holds <class>/* or files such as cat.0.jpg, as list_images takes them.
        class_list: the classes' names in the order of the labels; None takes all, sorted.
        split_ratio: the shares of train, valid and test, such as (0.8, 0.1, 0.1).
        mode: "train", "valid" or "test"; datasets of one seed and folder share no file.
        transform: called as transform(image, rng), image (H, W, 3) uint8; None: image_to_array.
        seed, stratified: as nyang_split.
        on_error: "raise" decodes every file first and refuses broken ones by name, "skip"
            leaves them out with a warning, "defer" finds out when the sample is asked for.

    ``paths`` lists the pairs (path, one-hot) of the mode.

    Raises:
        ValueError: for a broken file, a missing class, a class with too few images, a wrong
            mode or ratio; with names and counts.
    """

    def __init__(self, data_root, class_list, split_ratio, mode, transform=None, *, seed=0,
                 stratified=True, on_error="raise"):
        if len(split_ratio) != len(DATA_MODES):
            raise ValueError(f"split_ratio needs a share for each of {DATA_MODES}, "
                             f"received {split_ratio}")
        files, labels, self.class_list = list_images(data_root, class_list, on_error=on_error)
        parts = nyang_split(np.array(self.class_list)[labels], split_ratio,
                            stratified=stratified, seed=seed)
        self._parts = {name: one_hot_pairs(files, labels, part, len(self.class_list))
                       for name, part in zip(DATA_MODES, parts)}
        self._choose(mode, transform)

    def _choose(self, mode, transform):
        if mode not in DATA_MODES:
            raise ValueError(f"mode must be one of {DATA_MODES}, received {mode!r}")
        self.mode, self.transform, self.paths = mode, transform, self._parts[mode]

    def in_mode(self, mode, transform=None):
        """Return the dataset of another mode, of the same split, without listing again."""
        other = copy.copy(self)
        other._choose(mode, transform)
        return other

    def __len__(self):
        return len(self.paths)

    def image(self, index):
        """Read image index as it lies on disk: (H, W, 3) uint8."""
        return read_image(self.paths[index][0])

    def sample(self, index, rng):
        """Return (x, one-hot) of sample index, transformed with rng where there is a transform."""
        image, (_, label) = self.image(index), self.paths[index]
        return (self.transform(image, rng) if self.transform else image_to_array(image)), label

    def name_of(self, index):
        """Name the file."""
        return str(self.paths[index][0])

# %% [markdown]
# And the whole chapter in one call. The mean and std come from *training* images only. Measured on all files, they would carry something of the test into training: a small leak, but a leak.

# %%
#| export data.ready
def nyangnyang_dataset_ready(data_root, class_list, split_ratio, batch_size, size, *, seed=0,
                             workers=0, stratified=True, on_error="raise", measured=200, **augment):
    """Make three loaders of a folder of images: train (shuffled, augmented), valid and test.

    Args:
        data_root, class_list, split_ratio, stratified, on_error: as NyangNyangDataset.
        batch_size, workers, seed: as NyangDataLoader.
        size: height and width of x.
        measured: the mean and std come from at most so many training images.
        augment: further arguments of nyang_transforms.

    Returns:
        train_loader, valid_loader, test_loader.
    """
    train = NyangNyangDataset(data_root, class_list, split_ratio, "train", seed=seed,
                              stratified=stratified, on_error=on_error)
    if "mean" not in augment and "std" not in augment:
        few = range(min(len(train), measured))
        augment["mean"], augment["std"] = channel_stats(train.image(i) for i in few)
    return tuple(
        NyangDataLoader(train.in_mode(mode, nyang_transforms(mode, size, **augment)), batch_size,
                        shuffle=mode == "train", workers=workers, seed=seed)
        for mode in DATA_MODES)

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name) / "cats_and_dogs"
_ = write_cats_dogs(folder, 200, size=64, seed=0)
loaders = nyangnyang_dataset_ready(folder, ["cat", "dog"], (0.8, 0.1, 0.1), batch_size=32, size=64)
for loader in loaders:
    cats = sum(int(label[0]) for _, label in loader.dataset.paths)
    print(f"{loader.dataset.mode}: {len(loader.dataset)} files, {cats} of them cats, {len(loader)} batches")
x, y = next(iter(loaders[0]))
print("x", x.shape, x.dtype, " y", y.shape, y.dtype)
names = [{path.name for path, _ in loader.dataset.paths} for loader in loaders]
print("files in two parts:", len(names[0] & names[1] | names[0] & names[2] | names[1] & names[2]))

# %%
stats = loaders[0].dataset.transform
nyang_images_grid(x[:12], y[:12], ["cat", "dog"], columns=6, mean=stats.mean, std=stats.std)
plt.show()

# %% [markdown]
# A batch of the training loader, its normalisation undone. Look at every new data set in this way, *behind* the loader: wrong labels and swapped channels can be seen here.
#
# Now empty a file, as a full disk does. Ask for a class that is not there, and for shares that sum
# to more than 1. Last, open the folder with `on_error="defer"`, which decodes nothing ahead: the error then comes out of a worker.

# %% tags=["nbval-check-output"]
broken = folder / "cat.7.jpg"
broken.write_bytes(b"")
attempts = {"an empty file": dict(class_list=["cat", "dog"], split_ratio=(0.8, 0.1, 0.1)),
            "a class that is missing": dict(class_list=["cat", "fox"], split_ratio=(0.8, 0.1, 0.1)),
            "a wrong ratio": dict(class_list=["cat", "dog"], split_ratio=(0.8, 0.1, 0.2), on_error="defer")}
for what, arguments in attempts.items():
    try:
        nyangnyang_dataset_ready(folder, batch_size=32, size=64, **arguments)
    except ValueError as error:
        print(f"{what}:\n  {str(error).replace(str(folder), 'folder')}")

late = NyangNyangDataset(folder, ["cat", "dog"], (0.8, 0.1, 0.1), "train", on_error="defer")
try:
    list(NyangDataLoader(late, 32, workers=2))
except RuntimeError as error:
    print("found late, in a worker; the file is named:", broken.name in str(error))

# %% [markdown]
# Each message names the file or class, and the counts.
#
# ## What a worker buys
#
# Larger photos, 256 × 256, reduced to 64, and products of matrices for a training step. Without workers, loading and computing take turns. With them, loading hides behind computing, as far as there are cores.

# %%
import time

photos = Path(scratch.name) / "photos"
_ = write_cats_dogs(photos, 40, size=256, seed=1)
matrix = np.random.default_rng(0).random((600, 600), dtype=np.float32)


def seconds_waiting(workers):
    loader = NyangDataLoader(NyangNyangDataset(photos, ["cat", "dog"], (0.8, 0.1, 0.1), "train", train_view), 4, workers=workers)
    list(loader)  # the first pass makes each thread's Compose
    start, waited = time.perf_counter(), 0.0
    before = start
    for _ in loader:
        waited += time.perf_counter() - before
        for _ in range(4):
            matrix @ matrix
        before = time.perf_counter()
    return time.perf_counter() - start, waited


for workers in (0, 1, 2):
    total, waited = min(seconds_waiting(workers) for _ in range(2))
    print(f"{workers} workers: {1000 * total:4.0f} ms an epoch, of which waiting {waited / total:4.0%}")

# %% [markdown]
# The times are those of your machine. As long as a core is free for them, workers take most of the waiting away. A second worker need not lower it further, and what other programs do at that moment shows in the numbers too. The batches are the same in all three cases.
#
# ## Use: what is augmentation worth?
#
# A small convolutional network gets 20 digits of each class, 200 in all. It trains twice through your loader, for the same number of steps: on the digits as they are, and on moved, turned, scaled variants. For the last quarter smaller steps settle it (chapter 12). The number to beat is the first one, by 2 points at least.

# %%
few = np.concatenate([np.flatnonzero(~held & (labels == k))[:20] for k in range(10)])
mean, std = channel_stats(images[few])
tests = NyangDataLoader(ArrayDataset(images[held], labels[held], nyang_transforms("test", 28, mean=mean, std=std)), 250)
digit_views = {"as they are": nyang_transforms("valid", 28, mean=mean, std=std),
               "augmented": nyang_transforms("train", 28, mean=mean, std=std, flip=False, light=0, noise=0, fill=0)}


def conv_network(rng):
    return NyangFlow(Conv2d(1, 8, 3, padding=1, rng=rng), BatchNorm2d(8), ReLU(), MaxPool2d(2),
                     Conv2d(8, 16, 3, padding=1, rng=rng), BatchNorm2d(16), ReLU(), MaxPool2d(2),
                     Flatten(), Linear(16 * 7 * 7, 10, rng=rng))


def share_right(model, loader):
    model.eval()
    with no_memory():
        hits = [np.sum(model(x).argmax(axis=1) == y) for x, y in loader]
    model.train()
    return sum(hits) / len(loader.dataset)


def fit(view, epochs=40):
    loader = NyangDataLoader(ArrayDataset(images[few], labels[few], view), 25, shuffle=True)
    model, loss, curve = conv_network(np.random.default_rng(0)), CrossEntropyLoss(), []
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(epochs):
        optimizer.lr = 0.02 if epoch < 30 else 0.002
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y)
            model.backward(loss.backward())
            optimizer.step()
        if epoch % 5 == 4:
            curve.append(share_right(model, tests))
    return curve, share_right(model, learned)


learned = NyangDataLoader(ArrayDataset(images[few], labels[few], digit_views["as they are"]), 200)
fits = {name: fit(view) for name, view in digit_views.items()}
curves = {name: curve for name, (curve, _) in fits.items()}
for name, (curve, known) in fits.items():
    print(f"{name:12} its 200 digits {known:.1%} right, held-out digits {curve[-1]:.1%} right")

# %%
fig, ax = plt.subplots(figsize=(6.5, 3))
for (name, curve), colour in zip(curves.items(), [ORANGE, BLUE]):
    ax.plot(range(5, 41, 5), curve, ".-", color=colour, label=name)
ax.set(xlabel="epoch", ylabel="right, held-out digits", title="20 digits of each class to learn from")
ax.legend(loc="lower right")
plt.show()
assert curves["augmented"][-1] > 0.9 and curves["augmented"][-1] > curves["as they are"][-1] + 0.02

# %% [markdown]
# Without augmentation the curve soon lies flat: all 200 training digits are right (printed above), and nothing new comes. With it, hardly any picture comes twice. That curve jumps, and here even falls below the other once: each step follows the variants that were just drawn. The smaller steps after epoch 30 settle it, and it ends above.
#
# ## Exercise 9 ★: break it and say why
#
# Somebody shuffles like this: `x = x[rng.permutation(N)]; y = y[rng.permutation(N)]`. The two draws differ. Nothing raises, and the loss falls a little. Which share of the samples still has a right label, on average? `counts` says how many samples each class has. Work out `[5, 5]` first, then `[9, 1]`.

# %% exercise="shuffled_apart" points=1 stars=1
def shuffled_apart(counts):
    """Return the expected share of samples whose label is right after separate shuffles.

    Args:
        counts: (classes,) integers, the number of samples of each class.
    """
    ### BEGIN SOLUTION with which chance does a sample of class k meet a label k?
    share = np.asarray(counts) / np.sum(counts)
    return float((share**2).sum())
    ### END SOLUTION

# %%
check(shuffled_apart)

# %% probe="shuffled_apart"
def probe(shuffled_apart, rng):
    counts = rng.permutation([3, 8, 20, 50])[:3]
    yield "the share", shuffled_apart(counts)
    yield "the share with two classes, one of them rare", shuffled_apart(np.array([95, 5]))
    yield "the share with classes of equal size", shuffled_apart(np.array([10] * int(rng.integers(3, 8))))
    yield "the share with one class", shuffled_apart(np.array([7]))

# %% mistakes="shuffled_apart"
@mistake("all classes are taken as equally frequent", "1 / classes is right only where the classes are of equal size. A frequent label is met more often.")
def shuffled_apart(counts):
    return 1 / len(counts)

@mistake("this is the share of the largest class", "That would be right if every sample got the largest class's label. The labels are all still there, in another order.")
def shuffled_apart(counts):
    return float(np.max(counts) / np.sum(counts))

@mistake("the squares are divided by N only once", "Both the sample and the label have to be of class k, so the share of k counts twice: (n / N)².")
def shuffled_apart(counts):
    return float((np.asarray(counts) ** 2).sum() / np.sum(counts))

@mistake("this is the share of wrong labels", "You have the opposite. The question is how many labels are still right.")
def shuffled_apart(counts):
    return float(1 - ((np.asarray(counts) / np.sum(counts)) ** 2).sum())

@mistake("only the sample's own label is counted as right", "Another sample's label is right too, where it is of the same class.")
def shuffled_apart(counts):
    return float(1 / np.sum(counts))

@mistake("the squares are averaged over the classes", "The cases of all classes add up: a sample of class 0 with a label 0, or of class 1 with a label 1, and so on.")
def shuffled_apart(counts):
    return float(((np.asarray(counts) / np.sum(counts)) ** 2).mean())

# %% [markdown] hints="shuffled_apart"
# Pick a sample. With which chance is it of class k? With which chance is the label that it meets k?
#
# ---
#
# Both chances are n_k / N, and after separate shuffles one knows nothing of the other. Add over the classes.
#
# ---
#
# ```python
# share = np.asarray(counts) / ...
# return float((...).sum())
# ```

# %% [markdown]
# With classes of equal size that is no better than guessing. Ask your function for `[95, 5]`: nearly all labels fit, and a broken pipeline looks like a decent one. So: one index, used for both.
#
# ## Recap
#
# - Shuffle indices of *samples*, afresh in each epoch; the last, smaller batch belongs to the epoch.
# - Split before augmenting, one permutation cut in pieces, stratified where a class is rare. Measure mean and std on training images only, augment in training only.
# - Order and augmentation are functions of seed, epoch and index. So neither the number of workers nor a restart changes a batch.
#
# `finish` exports what holds your exercises: `nyang_edu/data/dataset.py`, `split.py` and `loader.py`. `transforms.py` and `ready.py` came without an exercise, and lie in the package already.
#
# **References.** Buslaev et al., *Albumentations: fast and flexible image augmentations*, Information 11 (2020). Shorten, Khoshgoftaar, *A survey on image data augmentation for deep learning*, Journal of Big Data 6 (2019). Kapoor, Narayanan, *Leakage and the reproducibility crisis in
# machine-learning-based science*, Patterns 4 (2023). Bottou, Curtis, Nocedal, *Optimization methods for large-scale machine learning*, SIAM Review 60 (2018). NumPy documentation, *Parallel random number generation*.

# %%
finish("11_data")
