# Exported from chapter 11. Change the notebook, then export again.
"""From a folder of images to three loaders, in one call."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.data.dataset import DATA_MODES, NyangNyangDataset
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.data.transforms import channel_stats, nyang_transforms


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
