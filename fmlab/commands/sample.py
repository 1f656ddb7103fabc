"""`fmlab sample`: images from a finished run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fmlab.commands.shared import (
    Count,
    GuidanceOptions,
    Precision,
    TrainedOptions,
    check_guidance_is_used,
    check_run,
    check_sampler,
    parse_labels,
)
from fmlab.config.options import Component, Named

if TYPE_CHECKING:
    from torch import Tensor

    from fmlab.fields import Generated, Guidance, Sampling
    from fmlab.inference.trained import Trained


@dataclass(frozen=True, kw_only=True)
class SampleOptions(TrainedOptions):
    """Draws samples of a finished run, or of an exported .safetensors file, and writes a grid of them.

      fmlab sample digits --labels 0-9 --num_samples 100 --guidance.scale 2 --steps 20
      fmlab sample digits --num_samples 5000 --out samples.npz

    Args:
        solver: The solver, see fmlab list solvers; --solver.NAME VALUE gives an argument.
        grid: Where the steps lie, see fmlab list grids; --grid.NAME VALUE likewise.
        path: A Gaussian path to sample along, see fmlab list paths; the trained one if left out.
        steps: Solver steps.
        labels: Such as 3, 0-9 or 1,4,7; every class in turn if left out.
        num_samples: How many samples; 10 a class if left out, 64 without classes.
        seed: The first sample's seed; the others follow.
        out: A folder for one PNG per sample, or a .npz with images and labels.
        ema_std: The width of a power-function average to use instead, such as 0.05.
        exact: Follow the exact field of the run's training data, not the network.
        batch_size: Samples per solve.
        precision: What the network computes in; auto is the fastest on the device.
    """

    solver: Component = Component("Heun")
    grid: Component = Component("UniformGrid")
    path: Component = Component()
    steps: Count = 20
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    labels: str | None = None
    num_samples: Count | None = None
    seed: int = 0
    out: Path | None = None
    ema_std: Annotated[float | None, Named("ema.std")] = None
    exact: bool = False
    batch_size: Count = 256
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_sampler(self.solver, self.grid, self.path)
        parse_labels(self.labels)


def run(options: SampleOptions) -> int:
    """Draws samples, and writes a grid and what `--out` asks for."""
    check_run(options.run, options.checkpoint)
    from fmlab.config.parts import build_component
    from fmlab.config.values import show
    from fmlab.fields import Sampling
    from fmlab.figures.sample_files import write_samples
    from fmlab.inference.load import load
    from fmlab.paths import GaussianPath
    from fmlab.solvers import Grid, Solver

    trained = load(options.run, options.checkpoint, options.weights, options.device, options.ema_std, options.trust)
    solver, grid = build_component("solver", options.solver, Solver), build_component("grid", options.grid, Grid)
    path = build_component("path", options.path, GaussianPath) if options.path.name else None
    sampling = Sampling(solver, options.steps, grid, path)
    guidance = options.guidance.guidance(options.guidance.scale)
    check_guidance_is_used([guidance])
    labels, count = choose_labels(trained, options, trained.count_classes(guidance))
    generated, seconds = draw(trained, sampling, guidance, labels, count, options)
    samples = generated.samples
    picture = write_grid(trained, samples, labels, options, sampling, guidance)
    cost = f"{options.steps} steps, {generated.nfe} {'evaluations' if options.exact else 'forwards'} a sample"
    along = f" along {path!r}" if path else ""
    of_data = ", the exact field of the training data" if options.exact else ""
    print(f"{count} samples in {seconds:.1f} s: {solver!r}{along}, {cost}{of_data}")
    if guidance.changes:
        print(f"guidance   {', '.join(f'{name} {show(value)}' for name, value in guidance.changes.items())}")
    print(f"grid       {picture}")
    if options.out:
        print(f"samples    {write_samples(samples, labels, options.out)}")
    return 0


def choose_labels(trained: Trained, options: SampleOptions, num_classes: int | None) -> tuple[Tensor | None, int]:
    """The labels of the samples, of so many classes, and their number."""
    requested, count = parse_labels(options.labels), options.num_samples
    if count is None and num_classes is not None:
        count = 10 * (len(requested) if requested else num_classes)
    if requested and count is not None and count >= len(requested):  # whole rows of one class each
        requested = [requested[index * len(requested) // count] for index in range(count)]
    labels = trained.choose_labels(count, requested, num_classes)
    return labels, (len(labels) if labels is not None else count or 64)


def draw(
    trained: Trained,
    sampling: Sampling,
    guidance: Guidance,
    labels: Tensor | None,
    count: int,
    options: SampleOptions,
) -> tuple[Generated, float]:
    """The samples, with a progress bar, and the seconds they took."""
    from rich.progress import track

    from fmlab.fields import collect

    began = time.perf_counter()
    seeds = range(options.seed, options.seed + count)
    batches = trained.generate_batches(
        seeds,
        labels,
        sampling,
        guidance,
        exact=options.exact,
        batch_size=options.batch_size,
        precision=options.precision,
    )
    total = -(-count // options.batch_size)
    generated = collect(track(batches, "sampling", total=total, transient=True))
    return generated, time.perf_counter() - began


def write_grid(
    trained: Trained,
    samples: Tensor,
    labels: Tensor | None,
    options: SampleOptions,
    sampling: Sampling,
    guidance: Guidance,
) -> Path:
    """One picture of the samples, under the run's folder, named after how they were made."""
    from fmlab.figures.sample_files import save_sample_grid

    path = f"_{type(sampling.path).__name__}" if sampling.path else ""
    name = f"{type(sampling.solver).__name__}{options.steps}{path}_{guidance.name}"
    name += (f"_ema{options.ema_std:g}" if options.ema_std is not None else "") + f"_seed{options.seed}.png"
    file = trained.origin.run / "samples" / f"{'exact' if options.exact else 'sample'}_{name}"
    save_sample_grid(samples, labels, file)
    return file
