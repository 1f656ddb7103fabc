"""Where a run's numbers go: `metrics.csv` in its folder, TensorBoard, and Weights & Biases where it works.

Weights & Biases stands beside a run, never in its way: a thread of its own talks to it, and a failure is one warning.
"""

from __future__ import annotations

import contextlib
import logging
import netrc
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from fmlab.config.schema import WandbOptions
from fmlab.errors import UserError, first_line
from fmlab.records import CsvMetrics, RunLayout
from fmlab.records.atomic import refuse_links
from fmlab.records.secrets import values_without_secrets

log = logging.getLogger(__name__)
T = TypeVar("T")

INIT_SECONDS = 15.0
"""How long a server may take to answer a new run before the run is kept offline."""
FINISH_SECONDS = 20.0
"""How long a finished run waits for its last lines to arrive; what has not lies in its folder."""
LAST_RESORT_SECONDS = 180.0
"""How long the end of a run waits for the client itself, whose waits all have an end, should it not come to one."""


class RunCsv(Logger):
    """Appends every logged value to the run's `metrics.csv`; a resumed run continues from its checkpoint's step."""

    name, version, save_dir = "csv", "", ""

    def __init__(self, layout: RunLayout) -> None:
        super().__init__()
        self.save_dir = str(layout.root)
        self._metrics = CsvMetrics(layout.metrics)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        if values:
            self._metrics.write(step or 0, values)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration has a file of its own."""


def make_tensorboard(layout: RunLayout, resumed_at: int | None = None) -> Logger:
    """The TensorBoard logger of a run, which writes to its folder `tensorboard`.

    Args:
        layout: The run's folder.
        resumed_at: The step at which the run goes on; what it wrote of later ones is shown no more.

    Raises:
        UserError: If TensorBoard is not installed.
    """
    refuse_links(layout.root / "tensorboard" / "run")
    where: dict[str, Any] = {"name": "tensorboard", "version": "", "purge_step": resumed_at}
    try:
        return TensorBoardLogger(str(layout.root), default_hp_metric=False, **where)
    except ModuleNotFoundError as error:
        hint = "pip install tensorboard"
        raise UserError("TensorBoard is not installed", key="tensorboard.enabled", hint=hint) from error


# Weights & Biases -----------------------------------------------------------------------------------------------------


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
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if netrc.netrc(str(file)).authenticators(host):
                return True
    return False


def make_wandb(options: WandbOptions, layout: RunLayout, tags: list[str], config: dict[str, Any]) -> list[Logger]:
    """The W&B logger of a run, under the run's own id, or nothing when it is disabled."""
    mode = wandb_mode(options)
    if mode == "disabled":
        return []

    def begin(mode: Any) -> WandbLogger:
        import wandb

        argv, sys.argv = sys.argv, values_without_secrets(sys.argv)  # W&B records it
        try:
            run = wandb.init(
                name=f"{layout.root.parent.name}/{layout.root.name}",
                dir=str(layout.root),
                id=os.environ.get("WANDB_RUN_ID", layout.root.name),
                project=options.project,
                entity=options.entity,
                group=values_without_secrets(options.group),
                tags=values_without_secrets(tags),
                config=values_without_secrets(config),
                mode=mode,
                # Offline too: a part that is synced later continues after the part before it and overwrites nothing.
                resume="allow",
                settings=service_settings(),
            )
        finally:
            sys.argv = argv
        run.define_metric("trainer/global_step")  # the axis that WandbLogger logs beside every number
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return WandbLogger(save_dir=str(layout.root), experiment=run)

    refuse_links(layout.root / "wandb" / "run")
    return [TolerantWandb(begin, mode)]


def service_settings() -> Any:
    """Quiet, and with an end to every wait: left alone, wandb waits 100 s at the start and for ever at the end."""
    import wandb

    return wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS)


def online_or_offline(begin: Callable[[str], T], mode: str) -> T:
    """What `begin` makes in a mode; where the server does not take it, offline."""
    try:
        return begin(mode)
    except Exception as error:  # whatever a service does
        if mode != "online":
            raise
        log.warning("W&B does not answer (%s); run kept offline: upload it with wandb sync", first_line(error))
        import wandb

        wandb.teardown()  # or the run's id counts as in use
        return begin("offline")


class TolerantWandb(Logger):
    """Weights & Biases that never stops or delays a run.

    What is logged is put in line and sent by a thread, so that training does not wait while the service is asked for a
    run, is slow or gone. At the first failure it says so once and is silent from then on.

    Args:
        begin: Makes the logger, its run begun, in a mode (online, offline); called at the first use, on rank zero.
        mode: The mode.
    """

    name, version = "wandb", None

    def __init__(self, begin: Callable[[str], WandbLogger], mode: str) -> None:
        super().__init__()
        self._begin, self._mode = begin, mode
        self._line: queue.Queue[Callable[[WandbLogger], Any] | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = dict(metrics)
        self._send(lambda inner: inner.log_metrics(values, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._send(lambda inner: inner.log_hyperparams(values_without_secrets(params)))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        """Logs pictures as uint8 arrays of shape (height, width, 3)."""
        self._send(lambda inner: inner.log_image(key, images, step=step))

    @rank_zero_only
    def log_measurement(self, record: dict[str, Any]) -> None:
        """Puts how the numbers are measured beside the configuration."""
        self._send(lambda inner: inner.experiment.config.update(values_without_secrets(record), allow_val_change=True))

    @rank_zero_only
    def mark_preempting(self) -> None:
        """Tells W&B that this run ends before its time and will go on."""
        if self._thread is not None:
            self._send(lambda inner: inner.experiment.mark_preempting())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._thread is None:
            return
        self._send(lambda inner: inner.experiment.finish(exit_code=0 if status == "success" else 1))
        self._line.put(None)
        self._thread.join(LAST_RESORT_SECONDS)
        if self._thread.is_alive():
            log.warning("W&B did not finish in time; upload the rest from the run's folder with wandb sync")
        self._thread = None

    def _send(self, action: Callable[[WandbLogger], Any]) -> None:
        if self._thread is None:
            # Imported here, not in the thread: a process that is forked meanwhile would inherit a locked import.
            import wandb  # noqa: F401

            self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
            self._thread.start()
        self._line.put(action)

    def _work(self) -> None:
        try:
            inner = online_or_offline(self._begin, self._mode)
            for action in iter(self._line.get, None):
                action(inner)
        except Exception as error:
            log.warning("W&B is off for the rest of this run: %s", first_line(error))
            for _ in iter(self._line.get, None):
                pass  # what is still sent is dropped
