"""What a run's training cost: images, operations, time, memory."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from fmlab.comparison.runs import Run

FORWARDS_PER_STEP = 3
"""A step is counted as three forwards: one forward, and a backward of twice its operations."""


@dataclass(frozen=True)
class Costs:
    """What training cost, as far as the record says: of logged speeds the medians, of memory the largest.

    Attributes:
        images: Training examples seen, over all devices.
        flops: Floating-point operations of the network in training, a multiply-add counting as two.
        seconds: Time in training steps, without validation.
        memory_gib: Memory of the first process; `gpu_memory_gib` is that of its GPU.
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


def read_costs(run: Run) -> Costs:
    """Computes the costs of a run up to its last step: the status says which, or the last index that was logged."""
    steps = max([run.status.step, *(curve.steps[-1] + 1 for curve in run.curves.values() if curve.steps)])
    batch, network = run.flags.get("data.global_batch_size"), run.meta.get("network") or {}
    images = float(batch * steps) if isinstance(batch, int) else None
    flops = network.get("flops")
    return Costs(
        steps,
        images,
        None if images is None or flops is None else FORWARDS_PER_STEP * float(flops) * images,
        _total_seconds(run, steps),
        _median(_finite_values(run, "perf/images_per_second")),
        _median(_finite_values(run, "perf/milliseconds_per_step")),
        max(_finite_values(run, "perf/memory_gib"), default=None),
        max(_finite_values(run, "perf/gpu_memory_gib"), default=None),
        network.get("parameters"),
    )


def _total_seconds(run: Run, steps: int) -> float | None:
    """The time of all steps, from the time of a step, which was logged now and then."""
    curve = run.curves.get("perf/milliseconds_per_step")
    total, last = 0.0, -1
    for step, milliseconds in zip(curve.steps, curve.values) if curve else []:
        if math.isfinite(milliseconds):
            total, last = total + milliseconds * (step - last), step
    return None if last < 0 else total * steps / (last + 1) / 1000


def _finite_values(run: Run, name: str) -> list[float]:
    return [value for value in run.curves[name].values if math.isfinite(value)] if name in run.curves else []


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
