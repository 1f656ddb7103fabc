"""One file that holds a trained model: its weights as safetensors, and in their header how to sample from them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.records.atomic import refuse_existing
from fmlab.records.tensors import open_tensors, write_tensors

SUFFIX = ".safetensors"

_FORMAT = 1


@dataclass(frozen=True)
class Exported:
    """The record beside the weights in an exported file; plain values only.

    Attributes:
        name: The experiment, or what the weights are known as.
        model: The model section of the configuration, without what only training needs.
        data: The data section, or None where the data are not known.
        shape: The shape of one sample.
        num_classes: The number of labels, or None.
        prediction: What the network outputs, as the configuration says it.
        path: The path it was trained on.
        step: The optimizer steps it was trained for, or None where they are not known.
        weights: Which weights these are, as `Origin` names them.
        scores: The validation's numbers for exactly these weights, where they are known.
        measurement: How the scores were measured.
        setting: How the scores' samples were made.
        run: The run's identifier, where there was a run.
        config: The complete configuration, where there was one.
        versions: What the run ran on, by package.
        class_names: The names of the labels, where they are known.
    """

    name: str
    model: dict[str, Any]
    data: dict[str, Any] | None
    shape: list[int]
    num_classes: int | None
    prediction: Any
    path: str
    step: int | None
    weights: str
    scores: dict[str, float] = field(default_factory=dict)
    measurement: dict[str, Any] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    run: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    class_names: list[str] | None = None


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Whether this names an exported file rather than a run."""
    return Path(name).suffix == SUFFIX


def check_target(file: Path, overwrite: bool = False) -> None:
    """Refuses a file to which nothing can be exported.

    Args:
        file: The file.
        overwrite: Whether it, and the card beside it, may be there already.

    Raises:
        UserError: If the file is not called .safetensors, its folder is not there, or it would be overwritten.
    """
    if not is_exported(file):
        hint = f"write --to {file.stem}{SUFFIX}"
        raise UserError(f"an exported file is called {SUFFIX}", key=f"--to {file}", hint=hint)
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}", key=f"--to {file}", hint=f"you are in {Path.cwd()}")
    for path in (file, file.with_suffix(".md")):
        refuse_existing(path, f"--to {file}", overwrite)


def write_exported(file: Path, network: nn.Module, record: Exported) -> None:
    """Writes a network's weights and buffers with its record, whole or not at all."""
    check_target(file, overwrite=True)
    tensors = network.state_dict()
    text = json.dumps({"format": _FORMAT, **asdict(record)}, default=str)
    write_tensors(file, tensors, {"format": "pt", "fmlab": text, "sha256": _hash(tensors, text)})


def read_exported(file: Path) -> tuple[dict[str, Tensor], Exported]:
    """The weights and the record of an exported file.

    Raises:
        UserError: If there is no such file, it is damaged, or it is not one that `fmlab export` or `import` made.
    """
    with open_tensors(file) as opened:
        metadata = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    names = [one.name for one in fields(Exported)]
    try:
        content = json.loads(metadata["fmlab"])
        record = Exported(**{name: value for name, value in content.items() if name in names})
    except (KeyError, ValueError, TypeError, AttributeError):
        hint = "fmlab export RUN --to FILE makes one; fmlab import FILE makes one of published weights"
        raise UserError("was not made by fmlab export", key=str(file), hint=hint) from None
    if content["format"] > _FORMAT:
        raise UserError("was made by a newer fmlab", key=str(file), hint="upgrade fmlab")
    if _hash(tensors, metadata["fmlab"]) != metadata.get("sha256"):
        raise UserError("is damaged: its content is not what was written", key=str(file))
    return tensors, record


def put_weights(
    network: nn.Module, tensors: Mapping[str, Tensor], cause: str, key: str, hint: str | None = None
) -> None:
    """Loads weights into a network; what does not fit is an error with this cause, and the first difference."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        difference = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise UserError(f"{cause}: {difference}", key=key, hint=hint) from error


def _hash(tensors: Mapping[str, Tensor], text: str) -> str:
    """The hash of a text and of all that the tensors are, whatever their order."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def class_paths(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every import path in a section, with its dotted key."""
    if isinstance(node, Mapping):
        if "class_path" in node:
            yield key, str(node["class_path"])
            node = node.get("init_args") or {}
        for name, value in node.items():
            yield from class_paths(value, f"{key}.{name}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from class_paths(value, f"{key}.{index}")
