"""Where a run's numbers go: `metrics.csv` in its folder, and Weights & Biases where it works."""

from __future__ import annotations

import logging
import netrc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from fmlab.cli.options import WandbOptions
from fmlab.records import CsvMetrics, RunLayout
from fmlab.records.secrets import values_without_secrets

log = logging.getLogger(__name__)


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


class TolerantWandb(Logger):
    """Weights & Biases that never stops a run: at its first failure it says so once and is silent from then on.

    Args:
        make: Makes the logger; called at the first use, on rank zero.
    """

    def __init__(self, make: Callable[[], WandbLogger]) -> None:
        super().__init__()
        self._make = make
        self._inner: WandbLogger | None = None
        self._failed = False

    def _try(self, action: Callable[[WandbLogger], Any]) -> None:
        if self._failed:
            return
        try:
            if self._inner is None:
                self._inner = self._make()
            action(self._inner)
        except Exception as error:  # whatever a service does, training goes on
            self._failed = True
            cause = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("W&B is off for the rest of this run: %s", cause)

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str | None:
        return None

    @property
    def experiment(self) -> Any:
        """The W&B run, or None where W&B does not work."""
        found: list[Any] = [None]
        self._try(lambda inner: found.__setitem__(0, inner.experiment))
        return found[0]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._try(lambda inner: inner.log_metrics(dict(metrics), step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self._try(lambda inner: inner.log_hyperparams(params))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        """Logs pictures as uint8 arrays of shape (height, width, 3)."""
        self._try(lambda inner: inner.log_image(key, images, step=step))

    @rank_zero_only
    def mark_preempting(self) -> None:
        """Tells W&B that this run ends before its time and will go on."""
        if self._inner is not None:
            self._try(lambda inner: inner.experiment.mark_preempting())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._inner is not None:
            self._try(lambda inner: inner.finalize(status))
            self._try(lambda inner: inner.experiment.finish(exit_code=0 if status == "success" else 1))


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

    def make() -> WandbLogger:
        import wandb

        settings = wandb.Settings(silent=True, console="off")
        logger = WandbLogger(
            name=f"{layout.root.parent.name}/{layout.root.name}",
            save_dir=str(layout.root),
            id=os.environ.get("WANDB_RUN_ID", layout.root.name),
            project=options.project,
            entity=options.entity,
            group=options.group,
            tags=tags,
            config=values_without_secrets(config),
            mode=mode,
            resume="allow" if mode == "online" else None,
            settings=settings,
        )
        logger._wandb_init.pop("anonymous", None)  # Lightning passes on what wandb has given up, with a warning
        typed, sys.argv = sys.argv, values_without_secrets(sys.argv)  # W&B records it
        try:
            _ = logger.experiment
        finally:
            sys.argv = typed
        return logger

    return [TolerantWandb(make)]
