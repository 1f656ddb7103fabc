"""The sections of a configuration, the constructors that are the schema of each, and what they say for one another.

Nothing is imported here: classes are named by import path and found when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fmlab.config.merge import ARGS


@dataclass
class RunOptions:
    """Name and place of the run: its record goes to `dir/name/<id>/`.

    Args:
        name: The experiment's name; the first configuration file's name if left out.
        dir: The folder in which all runs live.
        tags: Words to find the run by.
    """

    name: str | None = None
    dir: str = "runs"
    tags: list[str] | None = None


@dataclass
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: `auto` is online where the user is logged in, and offline elsewhere.
        project: The project's name.
        entity: The team or user; the account's own default if left out.
        group: Runs of one group are shown together.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "fmlab"
    entity: str | None = None
    group: str | None = None


@dataclass
class TensorboardOptions:
    """TensorBoard, which needs the package `tensorboard`.

    Args:
        enabled: Write its logs to the run's folder as well, as `tensorboard/`.
    """

    enabled: bool = False


@dataclass(frozen=True)
class Section:
    """One top-level key.

    Attributes:
        name: The key.
        target: Import path of the class whose constructor arguments the section holds; for a component, of the
            class that whatever is named there must derive from.
        about: One line of help.
        component: Whether the section names its own class (`class_path` and `init_args`), which a run needs.
        callback: Whether it is one of the named callbacks.
    """

    name: str
    target: str
    about: str
    component: bool = False
    callback: bool = False


SEED = "seed_everything"
DEFAULT_SEED = 0

SECTIONS: tuple[Section, ...] = (
    Section("run", "fmlab.config.schema.RunOptions", "name and place of the run"),
    Section("wandb", "fmlab.config.schema.WandbOptions", "Weights & Biases"),
    Section("tensorboard", "fmlab.config.schema.TensorboardOptions", "TensorBoard logs"),
    Section("trainer", "lightning.pytorch.Trainer", "Lightning's Trainer: devices, precision, max_steps, ..."),
    Section("model", "lightning.pytorch.LightningModule", "what is trained, and its parts", component=True),
    Section("data", "lightning.pytorch.LightningDataModule", "what it is trained on", component=True),
    # Before the averages, which begin as copies of the network.
    Section("initial", "fmlab.inference.InitialWeights", "begin from weights that are already trained", callback=True),
    Section("ema", "fmlab.training.AveragedWeights", "averaged weights", callback=True),
    Section("power_ema", "fmlab.training.PowerAverages", "averaged weights of any width, made later", callback=True),
    Section("samples", "fmlab.training.SampleGrid", "sample grids in validation", callback=True),
    Section("fid", "fmlab.training.SampleMetrics", "distances between sets in validation", callback=True),
    Section("floor", "fmlab.training.LossFloor", "distance from the exact field in validation", callback=True),
    Section("checkpoint", "fmlab.training.Checkpoints", "which checkpoints are kept", callback=True),
    Section("nonfinite", "fmlab.training.NonFinite", "what to do about a loss that is not finite", callback=True),
    Section("throughput", "fmlab.training.Throughput", "images a second, time a step, memory", callback=True),
)
BY_NAME: Mapping[str, Section] = {section.name: section for section in SECTIONS}

# Words that a key may hold although its constructor does not know them; the command replaces them before it runs.
EXTRA_WORDS: Mapping[str, tuple[str, ...]] = {"trainer.precision": ("auto",)}

OUTPUTS = "model.prediction"

LINKS: Mapping[str, str] = {
    "model.shape": "data.shape",
    "model.network.shape": "data.shape",
    "model.network.trunk.shape": "data.shape",
    "model.num_classes": "data.num_classes",
    "model.network.num_classes": "data.num_classes",
    "model.network.trunk.num_classes": "data.num_classes",
    "model.network.condition_dim": "data.condition_dim",
    "data.seed": SEED,
    "data.images.seed": SEED,
    "model.seed": SEED,
    "model.source.seed": SEED,
    "model.network.outputs": OUTPUTS,
}
"""By target, its source: the target takes the value if its constructor has such an argument, and it is left out."""


def callbacks_in(config: Mapping[str, Any]) -> list[Section]:
    """The named callbacks that a configuration asks for, in the order of the table."""
    return [section for section in SECTIONS if section.callback and config.get(section.name) is not None]


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
            values[f"data.{name}"] = list(value) if isinstance(value, (list, tuple)) else value
    if getattr(data, "condition_dim", None) is not None:
        values["data.condition_dim"] = data.condition_dim
    arguments = config["model"].get(ARGS) if isinstance(config["model"], dict) else None
    if isinstance(arguments, dict) and arguments.get("prediction") == "velocity_and_score":
        values[OUTPUTS] = 2
    return {target: values[source] for target, source in LINKS.items() if source in values}
