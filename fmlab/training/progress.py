"""What a run says of itself while it trains: lines of progress, its status, its speed and memory."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from fmlab.networks import describe
from fmlab.records import RunLayout, write_status
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.module import NetworkModule, unpack

SECONDS = 10.0
"""The least time between two lines of progress, or two writes of the status."""


class LineProgress(ProgressBar):
    """Prints one line every few seconds and one after each validation; for log files."""

    def __init__(self) -> None:
        super().__init__()
        self._started = self._printed = 0.0
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._started = self._printed = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._printed = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if time.monotonic() - self._printed >= SECONDS:
            self._line(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._line(trainer)

    def _line(self, trainer: Trainer) -> None:
        self._printed = time.monotonic()
        if not self._enabled or not trainer.is_global_zero:
            return
        metrics = trainer.progress_bar_metrics
        shown = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, (int, float)) and k != "v_num")
        of = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        print(f"step {trainer.global_step}{of}  {self._printed - self._started:.0f}s  {shown}", flush=True)


class Heartbeat(Callback):
    """Writes the step into the run's status every few seconds, so that others see it live."""

    def __init__(self, layout: RunLayout) -> None:
        self.layout, self._last = layout, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last > SECONDS:
            self._last = now
            write_status(self.layout, "running", step=trainer.global_step)


class Throughput(Callback):
    """Logs images a second over all devices and milliseconds an optimizer step, without the time spent in validation.

    Also the memory: on a GPU the most that torch held since the start, on a CPU what the process holds now. Where the
    peak of the device is known at this precision (NVIDIA and Google's, from Lightning's table), the model FLOPs
    utilisation too: the network's own work, three forwards an image, as a share of that peak.

    Args:
        enabled: Whether to log it.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._samples = self._step = 0
        self._since = 0.0
        self._work: float | None = None

    def logged_metrics(self, data: object) -> set[str]:
        """The names of the metrics that it logs; some of them depend on the device."""
        names = ("images_per_second", "milliseconds_per_step", "memory_gib", "model_flops_utilisation")
        return {f"perf/{name}" for name in names}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._samples, self._step, self._since = 0, trainer.global_step, time.perf_counter()

    on_validation_end = on_train_start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += len(unpack(batch).data)
        step = trainer.global_step
        if step % trainer.log_every_n_steps or step <= self._step:  # type: ignore[attr-defined]
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        elapsed = time.perf_counter() - self._since
        values = {
            "perf/images_per_second": self._samples * trainer.world_size / elapsed,
            "perf/milliseconds_per_step": 1000 * elapsed / (step - self._step),
            "perf/memory_gib": memory_in_use(pl_module.device) / 2**30,
        }
        module = cast(NetworkModule, pl_module)
        if self._work is None:
            self._work = work_of_sample(trainer, module)
        if self._work:
            values["perf/model_flops_utilisation"] = self._work * self._samples / elapsed
        module.report(values)
        self.on_train_start(trainer, pl_module)


def work_of_sample(trainer: Trainer, module: NetworkModule) -> float:
    """The seconds that the network's work on a sample of training takes at one device's peak; 0 if it is unknown."""
    peak = peak_flops(module.device, str(trainer.precision))
    if not peak:
        return 0.0
    shape = tuple(trainer.datamodule.shape)  # type: ignore[attr-defined]
    classes = module.num_classes if isinstance(module, GenerativeModule) else None
    return 3 * describe(module.network, shape, classes).flops / peak


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Floating-point operations a second that a device can do at a precision (Lightning's name), where it is known."""
    if device.type != "cuda":
        return None
    types = {"bf16": torch.bfloat16, "16": torch.float16, "32": torch.float32}
    dtype = types.get(precision.partition("-")[0])
    return None if dtype is None else get_available_flops(device, dtype)


def memory_in_use(device: torch.device) -> int:
    """Bytes: the most that torch has held on a GPU; elsewhere what this process holds."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
