"""From a complete configuration to the model, the data, the callbacks and the trainer of a run."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fmlab.config import schema
from fmlab.config.prepare import Prepared, make_arguments, make_section
from fmlab.data.contract import check_module
from fmlab.errors import UserError
from fmlab.fields import choose_precision
from fmlab.training.progress import LineProgress

# What a step-based trainer of generative models wants; a configuration may say otherwise.
TRAINER_DEFAULTS: dict[str, Any] = {
    "precision": "auto",
    "use_distributed_sampler": False,  # the data modules share out their batches themselves
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,  # the command prints its own
    "log_every_n_steps": 50,
}

# Warnings that a user can do nothing about.
IDLE_WARNINGS = (
    ".*does not have many workers.*",  # the data is in memory
    ".*treespec, LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*`srun` command is available.*",  # on a cluster's login node, or in an allocation of one task
)


def trainer_section(config: dict[str, Any], precision: bool = True) -> dict[str, Any]:
    """The trainer's arguments with this package's defaults.

    Args:
        config: A checked configuration.
        precision: Whether `precision: auto` becomes what this machine does best.
    """
    trainer = {**TRAINER_DEFAULTS, **(config.get("trainer") or {})}
    if trainer.get("max_steps", -1) > 0:
        trainer.setdefault("max_epochs", -1)
        trainer.setdefault("check_val_every_n_epoch", None)  # then val_check_interval counts steps
    if precision and trainer["precision"] == "auto":
        trainer["precision"] = fastest_precision(str(trainer.get("accelerator", "auto")))
    return trainer


def fastest_precision(accelerator: str) -> str:
    """Lightning's name of the precision that is fastest on an accelerator (auto, cpu, gpu, ...)."""
    kind = "cpu"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        kind = "cuda"
    elif accelerator != "cpu" and torch.backends.mps.is_available():
        kind = "mps"
    precision = choose_precision(kind)
    return "32-true" if precision == "float32" else precision


@dataclass
class Assembly:
    """What a run is made of: the LightningModule, the LightningDataModule, and the trainer with its callbacks."""

    model: Any
    data: Any
    trainer: Trainer


def assemble(
    prepared: Prepared,
    root: str,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[Callback] = (),
    last: Sequence[Callback] = (),
) -> Assembly:
    """Makes the objects of a run.

    Args:
        prepared: A checked configuration, its trainer section completed by `trainer_section`.
        root: The run's folder.
        loggers: Where numbers go, before those that the configuration names.
        callbacks: The command's own callbacks.
        last: Those of them that come after all others.

    Raises:
        UserError: Where parts do not go together.
    """
    silence_lightning()
    config = prepared.config
    check_module(prepared.data)
    seed_everything(config[schema.SEED], workers=True)
    sections = ("model", *(section.name for section in schema.callbacks_in(config)))
    model, *named = [make_section(name, config[name], prepared.trust) for name in sections]
    arguments = make_arguments("trainer", config["trainer"], prepared.trust)
    all_callbacks = [*_as_list(arguments.get("callbacks")), *callbacks]
    all_callbacks += [callback for callback in named if getattr(callback, "enabled", True)]
    if arguments.get("enable_progress_bar") is not False:
        all_callbacks.append(progress_bar())
    all_callbacks += last
    all_loggers = [*loggers, *(one for one in _as_list(arguments.get("logger")) if isinstance(one, Logger))]
    arguments |= {
        "callbacks": all_callbacks,
        "logger": all_loggers or False,
        "default_root_dir": root,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in all_callbacks),
    }
    return Assembly(model, prepared.data, make_trainer(arguments))


def make_trainer(arguments: dict[str, Any]) -> Trainer:
    """Lightning's Trainer; what it refuses is reported in one line.

    A whole `val_check_interval` counts optimizer steps where no epoch is counted; Lightning's counts batches.
    """
    interval, accumulated = arguments.get("val_check_interval"), arguments.get("accumulate_grad_batches") or 1
    if type(interval) is int and arguments.get("check_val_every_n_epoch", 1) is None:
        arguments = {**arguments, "val_check_interval": interval * accumulated}
    try:
        return Trainer(**arguments)
    except UserError:
        raise
    except (ValueError, TypeError, MisconfigurationException) as error:
        text = " ".join(str(error).split())
        raise UserError(text.removesuffix(".")[:300] or type(error).__name__, key="trainer") from error


def silence_lightning() -> None:
    """Turns off log lines and warnings that a user can do nothing about."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", pattern)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def progress_bar() -> Callback:
    """A bar on a terminal, a line now and then in a log file."""
    if not sys.stdout.isatty():
        return LineProgress()
    # Lightning reads the rate as redraws a second, and its own 100 cost milliseconds a step.
    return RichProgressBar(refresh_rate=4, theme=RichProgressBarTheme(metrics_format=".4g"), leave=True)
