"""What one part of a configuration says for another: where the model leaves out the data's shape, it is the data's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fmlab.config.merge import ARGS
from fmlab.config.schema import SEED

OUTPUTS = "model.prediction"

LINKS: tuple[tuple[str, str], ...] = (
    ("data.shape", "model.shape"),
    ("data.shape", "model.network.shape"),
    ("data.shape", "model.network.trunk.shape"),
    ("data.num_classes", "model.num_classes"),
    ("data.num_classes", "model.network.num_classes"),
    ("data.num_classes", "model.network.trunk.num_classes"),
    ("data.condition_dim", "model.network.condition_dim"),
    (SEED, "data.seed"),
    (SEED, "data.images.seed"),
    (SEED, "model.seed"),
    (SEED, "model.source.seed"),
    (OUTPUTS, "model.network.outputs"),
)
"""(source, target): the target takes the source's value if its constructor has such an argument, and it is left out."""

SOURCES = {target: source for source, target in LINKS}


def linked_values(config: dict[str, Any], data: Any = None) -> dict[str, Any]:
    """The values of the links' targets, by dotted key, as far as their sources are known.

    Args:
        config: A resolved configuration with its seed.
        data: Its data module, once it is built.
    """
    values: dict[str, Any] = {SEED: config[SEED]}
    for name in ("shape", "num_classes"):
        if hasattr(data, name):
            value = getattr(data, name)
            values[f"data.{name}"] = [int(size) for size in value] if isinstance(value, Sequence) else value
    if getattr(data, "condition_dim", None) is not None:
        values["data.condition_dim"] = data.condition_dim
    arguments = config["model"].get(ARGS) if isinstance(config["model"], dict) else None
    if isinstance(arguments, dict) and arguments.get("prediction") == "velocity_and_score":
        values[OUTPUTS] = 2
    return {target: values[source] for source, target in LINKS if source in values}
