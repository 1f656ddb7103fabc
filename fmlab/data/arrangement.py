"""The splits and the classes of a set of images, from the paths of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fmlab.data.base import fixed_permutation
from fmlab.errors import UserError

_SPLITS = {
    "train": "train(?:ing)?|trn",
    "validation": "val(?:id(?:ation)?)?|dev(?:el(?:opment)?)?|eval(?:uation)?|hold[ _-]?out|held[ _-]?out",
    "test": "test(?:ing)?|tst",
}
_FILLER = "set|images?|imgs?|data(?:set)?|split|part|folder|pictures|photos|files"
_NAMES = {
    split: re.compile(rf"(?:(?:{_FILLER})[\W_\d]*)*(?:{pattern})(?:[\W_\d]*(?:{_FILLER}))*[\W_\d]*(?:[\W_][a-d])?")
    for split, pattern in _SPLITS.items()
}


@dataclass
class Layout:
    """Which files train, which validate, and their classes.

    Attributes:
        train: The files that train.
        validation: Those that validate.
        labels: The label of each file, or None without classes.
        class_names: The classes in the order of the labels.
        unused: The number of images in each folder that neither trains nor validates.
    """

    train: list[str]
    validation: list[str]
    labels: dict[str, int] | None
    class_names: list[str] | None
    unused: dict[str, int] = field(default_factory=dict)


def split_named(folder: str) -> str | None:
    """Which split the name of a folder stands for: `train`, `validation` or `test`; None for any other name.

    `Train`, `training_set`, `val2017`, `dev` and `imgs-test` are such names; `trainers` and `test tube` are not.
    """
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", folder).lower()  # TrainSet, trainA
    return next((split for split, name in _NAMES.items() if name.fullmatch(spread)), None)


def arrange(names: list[str], validation_fraction: float) -> Layout:
    """Finds the splits and the classes in the names of the files.

    Args:
        names: Paths with forward slashes, sorted.
        validation_fraction: The share that validates where no folder says which.

    Raises:
        UserError: When the names are not laid out as `ImageFolder` says, or it is not sure how they are.
    """
    if not names:
        raise UserError("there are no images in it", key="data.path")
    inside = _without_wrapper({name: name.split("/") for name in names})
    splits = _split_folders(inside)
    train, validation, unused = list(inside), [], {}
    if splits:
        held_out = splits.get("validation", splits.get("test"))
        train = [name for name, parts in inside.items() if parts[0] == splits["train"]]
        validation = [name for name, parts in inside.items() if parts[0] == held_out]
        for folder in set(splits.values()) - {splits["train"], held_out}:
            unused[folder] = sum(parts[0] == folder for parts in inside.values())
        inside = {name: inside[name][1:] for name in train + validation}
    _refuse_inner_splits(inside)
    labels, class_names = _classes(inside, train)
    if not validation:
        if len(train) < 2:
            raise UserError("one image is too few to train and validate", key="data.path")
        count = min(max(1, round(validation_fraction * len(train))), len(train) - 1)
        order = fixed_permutation(len(train))
        validation = [train[row] for row in order[:count].sort().values.tolist()]
        train = [train[row] for row in order[count:].sort().values.tolist()]
    return Layout(train, validation, labels, class_names, unused)


def _split_folders(inside: dict[str, list[str]]) -> dict[str, str]:
    """The top-level folder of each split; empty where the top-level folders are classes or there are none.

    Raises:
        UserError: When some of them look like splits and the whole does not.
    """
    folders = {parts[0]: split_named(parts[0]) for parts in inside.values() if len(parts) > 1}
    named = {folder: split for folder, split in folders.items() if split}
    others = [folder for folder in folders if folder not in named]
    others += [parts[0] for parts in inside.values() if len(parts) == 1][:1]
    flat = all(len(parts) == 2 for parts in inside.values())
    if not named or (others and flat and set(named.values()) == {"train"} and len(named) == 1):
        return {}  # classes, of which one may be the train on rails
    hint = "name the splits train, validation and test, and a class otherwise"
    if others:
        cause = f"'{next(iter(named))}' looks like a split, and '{others[0]}' beside it does not"
        raise UserError(cause, key="data.path", hint=hint)
    splits: dict[str, str] = {}
    for folder, split in named.items():
        if split in splits:
            raise UserError(f"'{splits[split]}' and '{folder}' both look like {split}", key="data.path", hint=hint)
        splits[split] = folder
    if "train" not in splits:
        raise UserError(
            f"'{next(iter(named))}' looks like a split, and none is called train", key="data.path", hint=hint
        )
    return splits


def _refuse_inner_splits(inside: dict[str, list[str]]) -> None:
    """Refuses splits inside the classes, as in `cat/train/1.png`: the class would train on its test images."""
    splits: dict[str, set[str]] = {}
    for parts in inside.values():
        split = split_named(parts[1]) if len(parts) > 2 else None
        if split:
            splits.setdefault(parts[0], set()).add(split)
            if len(splits[parts[0]]) > 1:
                cause, hint = f"'{parts[0]}/{parts[1]}' looks like a split", f"put it on top: {parts[1]}/{parts[0]}"
                raise UserError(cause, key="data.path", hint=hint)


def _without_wrapper(inside: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drops a folder that wraps everything, as in a zip of `pets/cat/1.png` and `pets/dog/1.png`."""
    while len({parts[0] for parts in inside.values()}) == 1 and all(len(parts) > 2 for parts in inside.values()):
        if split_named(next(iter(inside.values()))[0]):
            break
        inside = {name: parts[1:] for name, parts in inside.items()}
    return inside


def _classes(inside: dict[str, list[str]], train: list[str]) -> tuple[dict[str, int] | None, list[str] | None]:
    """The label of every file and the names of the classes; None for files that lie in no folder."""
    outside = next((name for name, parts in inside.items() if len(parts) == 1), None)
    in_folder = next((name for name, parts in inside.items() if len(parts) > 1), None)
    if in_folder is None:
        return None, None
    if outside is not None:
        raise UserError(f"'{outside}' lies in no class folder, but '{in_folder}' does", key="data.path")
    class_names = sorted({inside[name][0] for name in train})
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = next((name for name, parts in inside.items() if parts[0] not in numbers), None)
    if unknown is not None:
        raise UserError(f"'{unknown}' is of a class that the training images do not have", key="data.path")
    return {name: numbers[parts[0]] for name, parts in inside.items()}, class_names
