"""Find the images of a data set on disk, with their classes, and read one of them.

Two layouts are in use: a folder a class, and the class in the file's name. What is wrong with
a data set (a missing class, a cut file) is said here, with names and counts, not hours later.
"""

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
ON_ERROR = ("defer", "raise", "skip")
_NAMED = 5  # so many files are named in a message; the rest is counted


def natural_key(text):
    """Make a sorting key that compares numbers as numbers: cat.2 before cat.10."""
    parts = re.split(r"([0-9]+)", str(text))  # text and digits in turn
    return [int(p) if i % 2 else p.casefold() for i, p in enumerate(parts)], str(text)


def list_images(data_root, class_list=None, *, on_error="defer"):
    """List the images of a data set, class by class, each class in natural order.

    Args:
        data_root: holds ``<class>/*`` or files ``<class>.<anything>.jpg``; where it holds a
            folder ``train`` (and "train" is no class), that one is taken.
        class_list: names in the order of the labels; classes that are not named are left out.
            None takes all that there are, sorted.
        on_error: "defer" opens no file: read_image will name a bad one. "raise" and "skip"
            decode every file first; "skip" leaves the bad ones out with a warning.

    Returns:
        paths, a list of Path; labels (N,) int64, places in class_list; class_list.

    Raises:
        FileNotFoundError: where data_root is no folder.
        ValueError: with names and counts, for a missing or empty class, both layouts at once,
            names without a class, or (with on_error="raise") files that cannot be read.
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {ON_ERROR}, received {on_error!r}")
    _check_names(class_list)
    root = _root(Path(data_root), class_list)
    chosen = _choose(root, class_list)
    if on_error != "defer":
        chosen = _readable(root, chosen, on_error)
    empty = [name for name, paths in chosen.items() if not paths]
    if empty:
        raise ValueError(f"{root}: no image of class {_some(empty)}; all classes: "
                         f"{_counts(chosen)}: add images or name the classes in class_list")
    sizes = [len(paths) for paths in chosen.values()]
    labels = np.repeat(np.arange(len(chosen), dtype=np.int64), sizes)
    return [path for paths in chosen.values() for path in paths], labels, list(chosen)


def _choose(root, class_list):
    """Return {class: sorted paths} in the order of the labels."""
    found = _by_class(root)
    names = sorted(found, key=natural_key) if class_list is None else class_list
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{root}: no class {_some(missing)}; it holds {_counts(found)}: "
                         "correct class_list (capitals count) or the folder")
    return {name: sorted(found[name], key=natural_key) for name in names}


def _check_names(class_list):
    if class_list is None:
        return
    if isinstance(class_list, str):
        raise TypeError(f"class_list must be a list of names, received {class_list!r}: "
                        f"write [{class_list!r}]")
    if not class_list or len(set(class_list)) < len(class_list):
        raise ValueError(f"class_list must name each class once, received {list(class_list)}")


def _root(root, class_list):
    if not root.is_dir():
        raise FileNotFoundError(f"data_root must be a folder, received {root}: "
                                f"{'it is a file' if root.exists() else 'it does not exist'}")
    inside = root / "train"
    return inside if inside.is_dir() and "train" not in (class_list or ()) else root


def _by_class(root):
    """Sort the images under root into {class: paths}, whichever layout it has."""
    entries = [entry for entry in sorted(root.iterdir(), key=natural_key)
               if not entry.name.startswith(".")]
    files = [entry for entry in entries if _is_image(entry)]
    folders = {entry.name: list(filter(_is_image, entry.iterdir()))
               for entry in entries if entry.is_dir()}
    if not files:
        if not folders:
            raise ValueError(f"{root}: neither images nor class folders in it "
                             f"({len(entries)} other files): pass the folder above the images")
        return folders
    if any(folders.values()):
        raise ValueError(f"{root}: {len(files)} images lie beside class folders "
                         f"({_counts(folders)}): keep one layout, all images in class folders "
                         "or all in names such as cat.0.jpg")
    return _by_name(root, files)


def _by_name(root, files):
    found, nameless = {}, []
    for path in files:
        name, dot, _ = path.stem.partition(".")  # the stem of cat.0.jpg is cat.0
        (found.setdefault(name, []) if dot and name else nameless).append(path)
    if nameless:
        raise ValueError(f"{root}: {len(nameless)} of {len(files)} names have no class before "
                         f"a first dot, as cat.0.jpg has ({_names(nameless)}): "
                         "rename them or move them elsewhere")
    return found


def _is_image(path):
    return (path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
            and path.is_file())


def _readable(root, chosen, on_error):
    bad = dict(find_unreadable([path for paths in chosen.values() for path in paths]))
    if not bad:
        return chosen
    named = "; ".join(f"{path.name}: {why}" for path, why in list(bad.items())[:_NAMED])
    count = f"{len(bad)} of {sum(map(len, chosen.values()))} images cannot be read"
    report = f"{root}: {count}: {named}" + (" …" if len(bad) > _NAMED else "")
    if on_error == "raise":
        raise ValueError(f'{report}; on_error="skip" leaves them out')
    warnings.warn(f"{report}; they are left out", stacklevel=3)
    return {name: [p for p in paths if p not in bad] for name, paths in chosen.items()}


def _names(paths):
    return _some([path.name for path in sorted(paths, key=natural_key)])


def _some(names):
    return ", ".join(map(repr, names[:_NAMED])) + (" …" if len(names) > _NAMED else "")


def _counts(found):
    sizes = [f"{name} {len(paths)}" for name, paths in list(found.items())[:20]]
    return ", ".join(sizes) + (f" … ({len(found)} classes)" if len(found) > 20 else "")


def read_image(path):
    """Decode one image file: upright (by its EXIF tag), in RGB, transparent parts on white.

    Grey, palette, 16-bit grey, CMYK and transparent images are converted.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: naming the file, where it is empty, cut, no image, or holds numbers that
            have no natural place in 0..255 (mode "F" or "I").
    """
    try:
        return _decode(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _decode(path):
    """Do read_image's work; its errors do not name the file."""
    if Path(path).stat().st_size == 0:
        raise ValueError("the file is empty: copy it again or remove it")
    try:
        with Image.open(path) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise ValueError("no image of a known format: copy it again or remove it") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds for a damaged file
        raise ValueError(f"damaged or cut ({error}): copy it again or remove it") from error
    if image.mode in ("F", "I"):
        raise ValueError(f"pixels of mode {image.mode!r} have no fixed range: scale them to "
                         "0..255 and save them as 8-bit")
    return np.array(_to_rgb(image))


def _to_rgb(image):
    if image.mode.startswith("I;16"):  # Pillow would clip at 255: keep the high byte instead
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def find_unreadable(paths):
    """Decode every file; list (path, reason) for those that cannot be read.

    Args:
        paths: any iterable of paths; each is read to its end.
    """
    bad = []
    for path in paths:
        try:
            _decode(path)
        except (OSError, ValueError) as error:
            bad.append((path, str(error)))
    return bad
