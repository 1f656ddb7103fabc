"""The sections of a configuration, and the constructors that are the schema of each.

Nothing is imported here: classes are named by import path and found when they are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One top-level key.

    Attributes:
        name: The key.
        target: Import path of the class whose constructor arguments the section holds; for a component, of the
            class that whatever is named there must derive from.
        about: One line of help.
        component: Whether the section names its own class (`class_path` and `init_args`).
        required: Whether a run needs it.
        callback: Whether it is one of the named callbacks.
    """

    name: str
    target: str
    about: str
    component: bool = False
    required: bool = False
    callback: bool = False


SEED = "seed_everything"
DEFAULT_SEED = 0

SECTIONS: tuple[Section, ...] = (
    Section("run", "fmlab.config.run_options.RunOptions", "name and place of the run"),
    Section("wandb", "fmlab.config.run_options.WandbOptions", "Weights & Biases"),
    Section("tensorboard", "fmlab.config.run_options.TensorboardOptions", "TensorBoard logs"),
    Section("trainer", "lightning.pytorch.Trainer", "Lightning's Trainer: devices, precision, max_steps, ..."),
    Section("model", "lightning.pytorch.LightningModule", "what is trained, and its parts", True, True),
    Section("data", "lightning.pytorch.LightningDataModule", "what it is trained on", True, True),
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


def callbacks_in(config: Mapping[str, Any]) -> list[Section]:
    """The named callbacks that a configuration asks for, in the order of the table."""
    return [section for section in SECTIONS if section.callback and config.get(section.name) is not None]
