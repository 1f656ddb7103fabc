"""What both sides of a comparison are measured with."""

from __future__ import annotations

import hashlib
import json
import resource
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Measurement:
    """One run.

    Attributes:
        milliseconds: A step, on average from the end of the warm-up's last step to the end of the run's last one:
            all that lies between, the turn of an epoch and a checkpoint's write included.
        median_milliseconds: The median step, without what happens only now and then.
        memory: The largest resident set of the process, in MiB; on a GPU, the most that torch allocated there.
        memory_before: The same before the first step: imports, data and network.
        threads: Of torch's operators.
        weights: A hash of the network's first weights.
    """

    milliseconds: float
    median_milliseconds: float
    memory: float
    memory_before: float
    threads: int
    weights: str


class Clock:
    """Takes the time at the end of every step.

    Args:
        first: The step, counted from 1, at whose end measuring begins.
        last: The step at whose end it ends.
        device: Where training runs; a GPU is waited for at both ends.
    """

    def __init__(self, first: int, last: int, device: torch.device) -> None:
        self.first, self.last, self.device = first, last, device
        self._ends: list[float] = []
        self._weights, self._memory_before = "", 0.0

    def start(self, network: nn.Module) -> None:
        """Called before the first step."""
        content = hashlib.sha256()
        for name, value in sorted(network.state_dict().items()):
            content.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        self._weights, self._memory_before = content.hexdigest(), self._peak_memory()

    def tick(self, step: int) -> None:
        """Called at the end of a step."""
        if step < self.first or step > self.last:
            return
        if step in (self.first, self.last) and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._ends.append(time.perf_counter())

    def measurement(self) -> Measurement:
        """Called after the last step."""
        steps = [1000 * (end - begin) for begin, end in zip(self._ends, self._ends[1:])]
        assert len(steps) == self.last - self.first, f"{len(steps)} steps were seen"
        return Measurement(
            statistics.mean(steps),
            statistics.median(steps),
            self._peak_memory(),
            self._memory_before,
            torch.get_num_threads(),
            self._weights,
        )

    def _peak_memory(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts kibibytes


def write(measurement: Measurement, file: Path) -> None:
    """Hands a measurement to the process that asked for it."""
    file.write_text(json.dumps(asdict(measurement)))


def read(file: Path) -> Measurement:
    """What `write` wrote."""
    return Measurement(**json.loads(file.read_text()))
