"""What a run's training cost: images, operations, time, memory."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from fmlab.comparison.runs import Run

BACKWARD = 3
"""A step is counted as three forwards: one forward, and a backward of twice its operations."""


@dataclass(frozen=True)
class Costs:
    """What training cost, as far as the record tells.

    Attributes:
        steps: Optimizer steps.
        images: Training examples seen, over all devices.
        flops: Floating-point operations of the network in training, a multiply-add counting as two.
        seconds: Time in training steps, without validation.
        images_per_second: The median of what was logged.
        milliseconds_per_step: The median of what was logged.
        memory_gib: The most memory of the first process.
        gpu_memory_gib: The most memory of its GPU.
        parameters: Of the network.
    """

    steps: int
    images: float | None = None
    flops: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    milliseconds_per_step: float | None = None
    memory_gib: float | None = None
    gpu_memory_gib: float | None = None
    parameters: float | None = None


def costs(run: Run) -> Costs:
    """The costs of a run up to its last step."""
    steps = _steps(run)
    batch, network = run.flags.get("data.global_batch_size"), run.meta.get("network") or {}
    images = float(batch * steps) if isinstance(batch, int) else None
    flops = network.get("flops")
    return Costs(
        steps,
        images,
        None if images is None or flops is None else BACKWARD * float(flops) * images,
        _seconds(run, steps),
        _median(run, "perf/images_per_second"),
        _median(run, "perf/milliseconds_per_step"),
        _most(run, "perf/memory_gib"),
        _most(run, "perf/gpu_memory_gib"),
        network.get("parameters"),
    )


def _steps(run: Run) -> int:
    """How many steps it took: what its status says, or one more than the last index it logged."""
    logged = max((curve.steps[-1] + 1 for curve in run.curves.values() if curve.steps), default=0)
    return max(run.status.step, logged)


def _seconds(run: Run, steps: int) -> float | None:
    """The time of all steps, from the time a step that was logged now and then."""
    curve = run.curves.get("perf/milliseconds_per_step")
    if curve is None:
        return None
    total, before = 0.0, -1
    for step, milliseconds in zip(curve.steps, curve.values):
        if not math.isfinite(milliseconds):
            continue
        total, before = total + milliseconds * (step - before), step
    return None if before < 0 else total * steps / (before + 1) / 1000


def _median(run: Run, name: str) -> float | None:
    values = [value for value in run.curves[name].values if math.isfinite(value)] if name in run.curves else []
    return statistics.median(values) if values else None


def _most(run: Run, name: str) -> float | None:
    values = [value for value in run.curves[name].values if math.isfinite(value)] if name in run.curves else []
    return max(values) if values else None
