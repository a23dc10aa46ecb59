"""Save a model and load it again: weights, how it is built, and where its training stood.

Two formats, by the file's suffix: .pickle, which holds everything, and .safetensors, which
holds the arrays under PyTorch's names and is read by PyTorch too.
"""

import json
import os
import pickle
from pathlib import Path

import numpy as np

import nyang_edu
from nyang_edu.utility.architecture import NotDescribable, describe, rebuild
from nyang_edu.utility.atomic import replacing
from nyang_edu.utility.plain import plain
from nyang_edu.utility.safe_pickle import MAX_BYTES, read_pickle

__all__ = ["load_random_state", "nyang_load_model", "nyang_save_model", "random_state",
           "read_model_file"]

FORMAT, VERSION = "nyang_edu", 1
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def nyang_save_model(model, path, *, training=None, note=None):
    """Save a model as a whole or not at all: a failed write leaves an older file as it was.

    Args:
        model: a NyangModel. The file tells how it is built where all its classes are this
            package's; a class of your own has to be made by you when the file is loaded.
        path: ends in .pickle or .safetensors.
        training: plain containers and arrays to keep beside the weights, as an optimizer's
            state; only in .pickle.
        note: a text.

    Raises:
        TypeError: for a model that is none, and for training that is not plain.
        ValueError: for another suffix, or training in .safetensors.
        OSError: where the file cannot be written.
    """
    if not isinstance(model, nyang_edu.NyangModel):
        raise TypeError(f"nyang_save_model saves a NyangModel, received {type(model).__name__}")
    if not isinstance(note, str | None):
        raise TypeError(f"note is a text, received {type(note).__name__}: pass what it should say "
                        "as a str, and numbers in training")
    content = {"format": FORMAT, "version": VERSION, "class": type(model).__name__,
               "architecture": None, "reason": None, "weights": model.state_dict(),
               "training": plain(training, "training"), "note": note}
    try:
        content["architecture"] = describe(model)
    except NotDescribable as reason:
        content["reason"] = str(reason)
    write = _write_safetensors if _is_safetensors(path) else _write_pickle
    write(content, path)


def nyang_load_model(path, model=None):
    """Load a model: built as the file tells, or your own with the file's weights.

    Args:
        path: a file of nyang_save_model, or a .safetensors file of PyTorch.
        model: takes the weights; needed where the file does not tell how to build it.

    Returns:
        the model, in training mode where it was built here.

    Raises:
        ValueError: for a file that is no model, is damaged, or does not fit.
        UnsafeFileError: for a file that asks for more than arrays and plain values.
        FileNotFoundError: where there is no file.
        TypeError: for a model that is none, as a class.
    """
    if not isinstance(model, nyang_edu.NyangModel | None):
        name = getattr(model, "__name__", type(model).__name__)
        raise TypeError(f"model takes a built model, received {name}: pass model={name}(...)")
    content = read_model_file(path)
    try:
        model = _build(content) if model is None else model
        model.load_state_dict(content["weights"])
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    return model


def read_model_file(path):
    """Read all that a file holds, without making a model of it.

    Returns:
        dict with "class", "architecture", "weights" (name → array), "training", "note".

    Raises:
        as nyang_load_model.
    """
    from_safetensors = _is_safetensors(path)
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {os.fspath(path)}; the current folder is "
                                f"{os.getcwd()}")
    content = _read_safetensors(path) if from_safetensors else read_pickle(path)
    problem = _problem(content)
    if problem:
        raise ValueError(f"{os.fspath(path)} {problem}")
    return content


def random_state(model):
    """Return the state of each random generator that a layer holds, as plain containers.

    One that several layers share is written once, then as {"same": name}.
    """
    states, names = {}, {}
    for name, layer, attribute in _generators(model):
        generator = getattr(layer, attribute)
        first = names.setdefault(id(generator), name)
        states[name] = generator.bit_generator.state if first == name else {"same": first}
    return states


def load_random_state(model, state):
    """Take over what random_state returned: the layers draw on from there, and share again.

    Raises:
        ValueError: where the names are not the model's, or a state is none.
    """
    places = {name: (layer, attribute) for name, layer, attribute in _generators(model)}
    if set(places) != set(state):
        raise ValueError(f"the random state belongs to {sorted(state)}, and the model has "
                         f"generators in {sorted(places)}: load it into the same model")
    made = {}
    try:
        for name, (layer, attribute) in places.items():
            one, old = state[name], getattr(layer, attribute)
            taken = any(old is other for other in made.values())
            made[name] = made[one["same"]] if "same" in one else (
                _generator(None if taken else old, one))
            setattr(layer, attribute, made[name])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the random state of {name} is damaged ({error})") from None


def _generators(model):
    seen = set()
    for prefix, layer in model.named_layers():
        for attribute, value in () if id(layer) in seen else vars(layer).items():
            if isinstance(value, np.random.Generator):
                yield (f"{prefix}.{attribute}" if prefix else attribute), layer, attribute
        seen.add(id(layer))


def _generator(generator, state):
    """Set a generator's state; where it is of another kind, or None, a new one is made."""
    kind = state.get("bit_generator")
    if kind not in GENERATORS:
        raise ValueError(f"no random generator {kind!r:.40}: NumPy has {', '.join(GENERATORS)}")
    if generator is None or type(generator.bit_generator).__name__ != kind:
        generator = np.random.Generator(getattr(np.random, kind)())
    generator.bit_generator.state = state
    return generator


def _build(content):
    """Build the model that a file describes, with the dtype of its weights."""
    weights, name = content["weights"], content["class"]
    advice = "pass model=YourModel(...)" if name is None else f"pass model={name}(...)"
    if content["architecture"] is None:
        why = content["reason"] or "it holds weights only"
        raise ValueError(f"the file does not tell how to build the model ({why}): {advice}")
    try:
        model = rebuild(content["architecture"], sum(array.size for array in weights.values()))
    except Exception as error:  # whatever a constructor may raise
        raise ValueError(f"the model cannot be built as the file tells ({error}): {advice}"
                         ) from None
    kept, made = _floats(weights.values()), _floats(array for _, array in model.named_arrays())
    return model.to(*kept) if len(kept) == 1 and kept != made else model


def _floats(arrays):
    return {array.dtype for array in arrays if array.dtype.kind == "f"}


def _problem(content):
    """Say what is wrong with a file's content; None where nothing is."""
    if type(content) is not dict or content.get("format") != FORMAT:
        return "is no model file of nyang_edu: save one with nyang_save_model"
    version = content.get("version")
    if type(version) is int and version > VERSION:
        return (f"has format version {version}, and this nyang_edu reads up to {VERSION}: "
                "install a newer one")
    weights = content.get("weights")
    if version != VERSION or type(weights) is not dict or not all(
            type(name) is str and type(array) is np.ndarray and array.dtype.kind in "biuf"
            for name, array in weights.items()):
        return "is damaged: its version or its weights are not as nyang_save_model writes them"
    missing = {"class", "architecture", "reason", "training", "note"} - set(content)
    return f"is damaged: it lacks {', '.join(sorted(missing))}" if missing else None


def _is_safetensors(path):
    if Path(path).is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder: pass the path of a file in it")
    suffix = Path(path).suffix.lower()
    if suffix not in (".pickle", ".safetensors"):
        raise ValueError("a model file ends in .pickle or .safetensors, received "
                         f"{os.fspath(path)}: try {Path(path).stem}.pickle")
    return suffix == ".safetensors"


def _write_pickle(content, path):
    with replacing(path) as file:
        pickle.dump(content, file, protocol=5)


def _write_safetensors(content, path):
    library = _safetensors()
    if content["training"] is not None:
        raise ValueError(".safetensors holds arrays only: save with training as .pickle")
    words = {key: str(content[key]) for key in ("format", "version", "class", "note", "reason")
             if content[key] is not None}
    if content["architecture"]:
        words["architecture"] = json.dumps(content["architecture"])
    data = library.numpy.save(content["weights"], words)
    with replacing(path) as file:
        file.write(data)


def _read_safetensors(path):
    library = _safetensors()
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f"{os.fspath(path)} is larger than {MAX_BYTES:,} bytes")
    try:
        with library.safe_open(os.fspath(path), framework="numpy") as file:
            words = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}
        spec = plain(json.loads(words.get("architecture", "null")), "architecture")
    except (library.SafetensorError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from None
    ours = words.get("format") == FORMAT
    version = words.get("version", "") if ours else str(VERSION)
    return {"format": FORMAT, "version": int(version) if version.isdecimal() else None,
            "class": words.get("class"), "architecture": spec if ours else None,
            "reason": words.get("reason"), "weights": weights, "training": None,
            "note": words.get("note")}


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(".safetensors files need the library safetensors: install it with "
                          "`pip install safetensors`, or use .pickle") from None
    return safetensors
