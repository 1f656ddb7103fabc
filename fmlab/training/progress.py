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
from fmlab.training.batches import unpack
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.module import NetworkModule


class LineProgress(ProgressBar):
    """Prints one line every few seconds and one after each validation; for log files.

    Args:
        seconds: The least time between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._printed = 0.0
        self._started = 0.0
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
        now = time.monotonic()
        if now - self._printed >= self.seconds:
            self._line(trainer, now)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._line(trainer, time.monotonic())

    def _line(self, trainer: Trainer, now: float) -> None:
        self._printed = now
        if not self._enabled or not trainer.is_global_zero:
            return
        metrics = trainer.progress_bar_metrics
        shown = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, (int, float)) and k != "v_num")
        of = f"/{trainer.max_steps}" if trainer.max_steps > 0 else ""
        print(f"step {trainer.global_step}{of}  {now - self._started:.0f}s  {shown}", flush=True)


class Heartbeat(Callback):
    """Writes the step into the run's status every few seconds, so that others see it live."""

    def __init__(self, layout: RunLayout, seconds: float = 10.0) -> None:
        self.layout, self.seconds, self._last = layout, seconds, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last > self.seconds:
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
        self._samples = 0
        self._step = 0
        self._since = 0.0
        self._peak: float | None = None
        self._forward = 0

    def logged_metrics(self, data: object) -> set[str]:
        """The names of the metrics that it logs; some of them depend on the device."""
        names = ("images_per_second", "milliseconds_per_step", "memory_gib", "model_flops_utilisation")
        return {f"perf/{name}" for name in names}

    def _restart(self, trainer: Trainer) -> None:
        self._samples, self._step, self._since = 0, trainer.global_step, time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restart(trainer)

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
        utilisation = self.utilisation(trainer, module, self._samples / elapsed)
        module.report(values if utilisation is None else {**values, "perf/model_flops_utilisation": utilisation})
        self._restart(trainer)

    def utilisation(self, trainer: Trainer, module: NetworkModule, samples_per_second: float) -> float | None:
        """The share of one device's peak that the network's work on so many samples takes; None where it is unknown."""
        if self._peak is None:
            self._peak = peak_flops(module.device, str(trainer.precision)) or 0
            shape = tuple(trainer.datamodule.shape)  # type: ignore[attr-defined]
            if self._peak:
                classes = module.num_classes if isinstance(module, GenerativeModule) else None
                self._forward = describe(module.network, shape, classes).flops
        return 3 * self._forward * samples_per_second / self._peak if self._peak else None


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
