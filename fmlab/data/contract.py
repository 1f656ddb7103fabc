"""The contract of a data module (docs/data.md), checked once at the start of a run, and what a run remembers of it.

A data module states `shape`, and `num_classes` or `condition_dim` if its batches have conditions. A batch on the device
is float, of shape (B, *shape), images in [-1, 1]; beside it stand labels, integers in 0 to `num_classes - 1` of shape
(B,), or vectors, floats of shape (B, `condition_dim`). Whatever breaks it is said in one line, before the first step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fmlab.errors import UserError

_PAGE = "docs/data.md has an example"


def check_module(data: Any) -> None:
    """Refuses a data module that does not state what it must.

    Raises:
        UserError: If its shape is missing or no shape, or its classes do not go together.
    """
    name, shape = type(data).__name__, getattr(data, "shape", None)
    sized = isinstance(shape, Sequence) and len(shape) > 0 and all(isinstance(n, int) and n > 0 for n in shape)
    if not sized:
        cause = f"{name} states no shape of one example" if shape is None else f"{name} states the shape {shape!r}"
        raise UserError(cause, key="data", hint=f"such as shape = (3, 32, 32); {_PAGE}")
    classes, names = getattr(data, "num_classes", None), getattr(data, "class_names", None)
    if classes is not None and (not isinstance(classes, int) or classes < 1):
        raise UserError(f"{name} states num_classes {classes!r}", key="data", hint="a whole number, or None")
    if classes is not None and names is not None and len(names) != classes:
        raise UserError(f"{name} states {classes} classes and {len(names)} names of them", key="data")
    if getattr(data, "kind", "images") not in ("images", "points"):
        raise UserError(f"{name} states the kind {data.kind!r}", key="data", hint="images or points")


def check_provides(data: Any, names: Sequence[str], key: str) -> None:
    """Refuses a data module that lacks what a part of the run needs of it.

    Args:
        data: The data module.
        names: The attributes and methods.
        key: The section of the configuration that needs them.

    Raises:
        UserError: If one is missing.
    """
    missing = [name for name in names if not hasattr(data, name)]
    if missing:
        cause = f"needs of {type(data).__name__}: {', '.join(missing)}"
        raise UserError(cause, key=key, hint=f"derive it from fmlab.data.DataModule, or set {key}.enabled=false")


def check_batch(data: Any, x: Any, condition: Any, num_classes: int | None, condition_dim: int | None) -> str | None:
    """Looks at one batch, as it stands on the device.

    Args:
        data: The data module.
        x: The examples.
        condition: What stands beside them, or None.
        num_classes: How many classes the model is trained with, or None.
        condition_dim: The length of the vectors that it is trained with, or None.

    Returns:
        A note for the user, or None.

    Raises:
        UserError: If the batch breaks the contract.
    """
    name, shape = type(data).__name__, tuple(data.shape)
    if not isinstance(x, Tensor):
        raise _wrong(f"a batch of {name} holds a {type(x).__name__} where its examples are expected", _PAGE)
    if tuple(x.shape[1:]) != shape:
        cause = f"{name} states examples of shape {shape}, and a batch of it has the shape {tuple(x.shape)}"
        raise _wrong(cause, f"a batch is (B, {', '.join(map(str, shape))})")
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        hint = "x.float()" if x.is_floating_point() else "scale images to [-1, 1] (fmlab.data.to_float)"
        raise _wrong(f"the batches of {name} are {_type(x)}, not float32", hint)
    low, high = (float(bound) for bound in x.aminmax())
    if len(shape) == 3 and shape[0] in (1, 3) and low >= 0 and high > 1.5:
        raise _wrong(f"the images of {name} reach from {low:g} to {high:g}, not from -1 to 1", "x / 127.5 - 1")
    if condition is None:
        if num_classes is not None or condition_dim is not None:
            raise _wrong(f"the model takes conditions, and a batch of {name} has none", "a batch is (x, label)")
        return None
    return _check_condition(data, x, condition, num_classes, condition_dim)


def _check_condition(
    data: Any, x: Tensor, condition: Any, num_classes: int | None, condition_dim: int | None
) -> str | None:
    name = type(data).__name__
    if not isinstance(condition, Tensor) or condition.ndim == 0 or len(condition) != len(x):
        sizes = tuple(condition.shape) if isinstance(condition, Tensor) else type(condition).__name__
        raise _wrong(f"the conditions of {len(x)} examples of {name} are {sizes}", "one label or vector an example")
    kind, whole = f"{_type(condition)} of shape {tuple(condition.shape)}", not condition.is_floating_point()
    if num_classes is None and condition_dim is None:
        if getattr(data, "num_classes", None) is not None or getattr(data, "condition_dim", None) is not None:
            return f"the model takes no conditions; those of {name} ({kind}) are not used"
        stated = f"num_classes = {int(condition.max()) + 1}" if whole else f"condition_dim = {condition[0].numel()}"
        cause = f"the batches of {name} have conditions ({kind}), and it states neither num_classes nor condition_dim"
        raise _wrong(cause, f"state {stated} or so, or give x alone")
    if condition_dim is not None:
        if whole or tuple(condition.shape) != (len(x), condition_dim):
            raise _wrong(f"the conditions of {name} are {kind}", f"floats of shape (B, {condition_dim})")
        return None
    hint = None
    if condition.ndim == 2 and condition.shape[1] == 1:
        hint = "labels.squeeze(1)"
    elif condition.ndim == 2 and condition.shape[1] == num_classes:
        hint = "are they one-hot? labels.argmax(1)"
    elif condition.ndim == 1 and condition.dtype not in (torch.int64, torch.int32):
        hint = "labels.long()"
    if hint is not None or condition.ndim != 1:
        raise _wrong(f"the labels of {name} are {kind}, not whole numbers of shape (B,)", hint)
    check_labels(name, condition, int(num_classes or 0))
    return None


def check_labels(name: str, labels: Tensor, num_classes: int) -> None:
    """Refuses labels outside 0 to `num_classes - 1`: the label `num_classes` would be trained as no label.

    Raises:
        UserError: If there is one.
    """
    if not len(labels):
        return
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        hint = "do they begin at 1? labels - 1" if low >= 1 and high == num_classes else None
        cause = f"{name} has the labels {low} to {high}, and those of {num_classes} classes are 0 to {num_classes - 1}"
        raise _wrong(cause, hint)


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _wrong(cause: str, hint: str | None = None) -> UserError:
    return UserError(cause, key="data", hint=hint)


# What a run remembers.


def data_record(data: Any) -> dict[str, Any]:
    """What the data are, as plain values: classes in their order, and of each split its size, counts and hash.

    Raises:
        UserError: If the labels of a split are not those of its classes.
    """
    names = getattr(data, "class_names", None)
    record: dict[str, Any] = {
        "module": type(data).__name__,
        "shape": [int(size) for size in data.shape],
        "num_classes": getattr(data, "num_classes", None),
        "class_names": None if names is None else [str(name) for name in names],
    }
    if not hasattr(data, "fingerprint"):
        return record
    for split in ("train", "validation"):
        examples = data.split(split)
        record[split] = {"size": len(examples), "hash": data.fingerprint(split), "hash_of": examples.fingerprint_of}
        if examples.labels is not None and data.num_classes is not None:
            check_labels(type(data).__name__, examples.labels, data.num_classes)
            record[split]["counts"] = examples.labels.bincount(minlength=data.num_classes).tolist()
    record["left_out"] = list(data.left_out)
    return record


def describe_record(record: Mapping[str, Any]) -> str:
    """A record in one line: sizes, classes by name, and what was left out."""
    shape = " x ".join(map(str, record["shape"]))
    parts = [f"{record['module']}, {shape}"]
    if "train" in record:
        parts[0] += f": {record['train']['size']:,} to train, {record['validation']['size']:,} to validate"
    names, classes = record.get("class_names"), record.get("num_classes")
    if names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        parts.append(f"{len(names)} {'class' if len(names) == 1 else 'classes'}: {shown}")
    else:
        parts.append("no classes" if classes is None else f"{classes} classes")
    if record.get("left_out"):
        parts.append(f"left out: {'; '.join(record['left_out'])}")
    return "; ".join(parts)


def check_classes(before: Mapping[str, Any], data: Any) -> None:
    """Refuses data whose classes are not those that a run was trained with.

    Args:
        before: The run's record of its data; empty if it has none.
        data: The data module.

    Raises:
        UserError: If a class is new, gone or at another place.
    """
    names = getattr(data, "class_names", None)
    old, new = before.get("class_names"), None if names is None else [str(name) for name in names]
    if not before or old == new:
        return
    added = [name for name in new or [] if name not in (old or [])]
    gone = [name for name in old or [] if name not in (new or [])]
    changes = [f"{text} {', '.join(some[:5])}" for text, some in (("new:", added), ("gone:", gone)) if some]
    cause = f"the classes are not those of the run ({'; '.join(changes) or 'their order is another'})"
    raise _wrong(cause, "train a new run, or put the folders back")


def data_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what the splits of two records differ, a line each."""
    lines = []
    for split, text in (("train", "training"), ("validation", "validation")):
        old, new = before.get(split), now.get(split)
        if not (old and new):
            continue
        comparable = old.get("hash_of") == new.get("hash_of")  # pixels in memory, else files' names and sizes
        if old["size"] != new["size"] or (comparable and old["hash"] != new["hash"]):
            sizes = f"{new['size']:,}, not {old['size']:,}" if new["size"] != old["size"] else "of other content"
            lines.append(f"the {text} examples are not those of before: {sizes}")
    return lines


def split_fingerprint(examples: Any) -> str:
    """A hash (hex) of a split's examples and their labels."""
    digest = hashlib.sha256(examples.fingerprint.encode())
    if examples.labels is not None:
        digest.update(examples.labels.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
