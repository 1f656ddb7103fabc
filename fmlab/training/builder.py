"""From a complete configuration to model, data, callbacks and trainer, through LightningCLI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from fmlab.config import schema
from fmlab.config.names import find_class
from fmlab.errors import UserError, user_error_in
from fmlab.training.devices import fastest_precision
from fmlab.training.progress import LineProgress

# What a step-based trainer of generative models wants; a configuration may say otherwise.
TRAINER_DEFAULTS: dict[str, Any] = {
    "precision": "auto",
    "use_distributed_sampler": False,  # the data modules share out their batches themselves
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,  # the command prints its own
    "log_every_n_steps": 50,
}


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


class Builder(LightningCLI):
    """A LightningCLI that is given its whole configuration and instantiates it; the command adds what a run needs.

    Args:
        config: A checked configuration, its trainer section completed by `trainer_section`.
        root: The run's folder.
        loggers: Where numbers go, before those that the configuration names.
        callbacks: The command's own callbacks.
        last: Those of them that come after all others.
    """

    def __init__(
        self,
        config: dict[str, Any],
        root: str,
        loggers: Sequence[Logger] = (),
        callbacks: Sequence[Callback] = (),
        last: Sequence[Callback] = (),
    ) -> None:
        self._sections = schema.callbacks_in(config)
        self._root, self._loggers, self._callbacks = root, list(loggers), list(callbacks)
        self._last = list(last)
        sections = {name: config[name] for name in ("model", "data", *(section.name for section in self._sections))}
        super().__init__(
            run=False,
            args={schema.SEED: config[schema.SEED], "trainer": config["trainer"], **sections},
            save_config_callback=None,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"exit_on_error": False},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for section in self._sections:
            parser.add_lightning_class_args(find_class(section.target, (Callback,), section.name), section.name)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = {**self.config_init["trainer"], **kwargs}
        named = [self.config_init[section.name] for section in self._sections]
        callbacks = [*(config.pop("callbacks", None) or []), *self._callbacks]
        callbacks += [callback for callback in named if getattr(callback, "enabled", True)]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(progress_bar())
        callbacks += self._last
        has_checkpoints = any(isinstance(callback, Checkpoint) for callback in callbacks)
        given = config.pop("logger", None)
        loggers = self._loggers + (given if isinstance(given, list) else [given] if isinstance(given, Logger) else [])
        config |= {
            "callbacks": callbacks,
            "logger": loggers or False,
            "default_root_dir": self._root,
            "enable_checkpointing": has_checkpoints,
        }
        try:
            return self.trainer_class(**config)
        except (ValueError, TypeError, MisconfigurationException) as error:
            if user_error_in(error) is not None:
                raise
            text = " ".join(str(error).split())
            raise UserError(text.removesuffix(".")[:300] or type(error).__name__, key="trainer") from error


def progress_bar() -> Callback:
    """A bar on a terminal, a line now and then in a log file."""
    if not sys.stdout.isatty():
        return LineProgress()
    # Lightning reads the rate as redraws a second, and its own 100 cost milliseconds a step.
    return RichProgressBar(refresh_rate=4, theme=RichProgressBarTheme(metrics_format=".4g"), leave=True)
