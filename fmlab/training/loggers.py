"""Where a run's numbers go: `metrics.csv` in its folder, and Weights & Biases where it works."""

from __future__ import annotations

import netrc
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from fmlab.config.run_options import WandbOptions
from fmlab.errors import UserError
from fmlab.records import CsvMetrics, RunLayout
from fmlab.records.secrets import values_without_secrets
from fmlab.training.wandb_service import TolerantWandb, service_settings


class RunCsv(Logger):
    """Appends every logged value to the run's `metrics.csv`; a resumed run goes on where its checkpoint stood.

    Args:
        layout: The run's folder.
    """

    def __init__(self, layout: RunLayout) -> None:
        super().__init__()
        self.layout = layout
        self._metrics = CsvMetrics(layout.metrics)

    @property
    def name(self) -> str:
        return self.layout.root.parent.name

    @property
    def version(self) -> str:
        return self.layout.root.name

    @property
    def save_dir(self) -> str:
        return str(self.layout.root)

    @property
    def experiment(self) -> CsvMetrics:
        return self._metrics

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        if values:
            self._metrics.write(step or 0, values)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration has a file of its own."""


def wandb_mode(options: WandbOptions) -> str:
    """`auto` is what WANDB_MODE says, online where the user is logged in, and offline elsewhere."""
    if options.mode != "auto":
        return options.mode
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    return "online" if os.environ.get("WANDB_API_KEY") or _logged_in() else "offline"


def _logged_in() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0].split(":")[0]
    files = [Path(os.environ["NETRC"])] if os.environ.get("NETRC") else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in files:
        try:
            if netrc.netrc(str(file)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def make_wandb(options: WandbOptions, layout: RunLayout, tags: list[str], config: dict[str, Any]) -> list[Logger]:
    """The W&B logger of a run, under the run's own id, or nothing when it is disabled or not installed."""
    mode = wandb_mode(options)
    if mode == "disabled":
        return []

    def begin(mode: str) -> WandbLogger:
        logger = WandbLogger(
            name=f"{layout.root.parent.name}/{layout.root.name}",
            save_dir=str(layout.root),
            id=os.environ.get("WANDB_RUN_ID", layout.root.name),
            project=options.project,
            entity=options.entity,
            group=values_without_secrets(options.group),
            tags=values_without_secrets(tags),
            config=values_without_secrets(config),
            mode=mode,
            # Offline too: what is synced later then goes on where the part before it ended, rather than over it.
            resume="allow",
            settings=service_settings(),
        )
        logger._wandb_init.pop("anonymous", None)  # Lightning passes on what wandb has given up, with a warning
        typed, sys.argv = sys.argv, values_without_secrets(sys.argv)  # W&B records it
        try:
            assert logger.experiment is not None  # the run begins
        finally:
            sys.argv = typed
        return logger

    return [TolerantWandb(begin, mode)]


def make_tensorboard(layout: RunLayout, resumed_at: int | None = None) -> Logger:
    """The TensorBoard logger of a run, which writes to its folder `tensorboard`.

    Args:
        layout: The run's folder.
        resumed_at: The step at which the run goes on; what it wrote of later ones is shown no more.

    Raises:
        UserError: If TensorBoard is not installed.
    """
    where: dict[str, Any] = {"name": "tensorboard", "version": "", "purge_step": resumed_at}
    try:
        return TensorBoardLogger(str(layout.root), default_hp_metric=False, **where)
    except ModuleNotFoundError as error:
        hint = "pip install tensorboard"
        raise UserError("TensorBoard is not installed", key="tensorboard.enabled", hint=hint) from error
