"""`fmlab sample`: images from a finished run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fmlab.commands.shared import Count, Finite, GuidanceOptions, SamplingOptions, check_run, parse_labels
from fmlab.config.options import Named
from fmlab.config.parts import build_component
from fmlab.config.values import show
from fmlab.errors import UserError
from fmlab.records.atomic import free_name, refuse_existing

if TYPE_CHECKING:
    from torch import Tensor

    from fmlab.inference.trained import Trained


@dataclass(frozen=True, kw_only=True)
class SampleOptions(SamplingOptions, GuidanceOptions):
    """Draws samples of a finished run, or of an exported .safetensors file, and writes a grid of them.

      fmlab sample digits --labels 0-9 --num_samples 100 --guidance.scale 2 --steps 20
      fmlab sample digits --num_samples 5000 --out samples.npz

    Args:
        steps: Solver steps.
        guidance_scale: The guidance scale w: 0 is unconditional, 1 conditional, more than 1 guided.
        labels: Such as 3, 0-9 or 1,4,7, or cat,dog by name; every class in turn if left out.
        num_samples: How many samples; 10 a class if left out, 64 without classes.
        out: A folder for one PNG per sample, or a .npz with images and labels.
        overwrite: Replace the .npz, or the PNGs of the folder, if there are any already.
        ema_std: The width of a power-function average to use instead, such as 0.05.
        exact: Follow the exact field of the run's training data, not the network.
    """

    steps: Count = 20
    guidance_scale: Annotated[Finite, Named("guidance.scale")] = 1.0
    labels: str | None = None
    num_samples: Count | None = None
    out: Path | None = None
    overwrite: bool = False
    ema_std: Annotated[float | None, Named("ema.std")] = None
    exact: bool = False
    batch_size: Count = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and not (self.out.is_dir() and not any(self.out.iterdir())):
            refuse_existing(self.out, "out", self.overwrite)
        if self.labels is not None:
            parse_labels(self.labels)


def run(options: SampleOptions) -> int:
    """Draws samples, and writes a grid and what `--out` asks for."""
    check_run(options.run, options.checkpoint)
    from rich.progress import track

    from fmlab.fields import Sampling, collect
    from fmlab.figures.sample_files import save_sample_grid, write_samples
    from fmlab.inference.load import load
    from fmlab.paths import GaussianPath
    from fmlab.solvers import Grid, Solver

    trained = load(options.run, options.checkpoint, options.weights, options.device, options.ema_std, options.trust)
    solver, grid = build_component("solver", options.solver, Solver), build_component("grid", options.grid, Grid)
    path = build_component("path", options.path, GaussianPath)
    (guidance,) = options.guidances(options.guidance_scale)
    labels, count = choose_labels(trained, options, trained.count_classes(guidance))
    began = time.perf_counter()
    batches = trained.generate_batches(
        range(options.seed, options.seed + count),
        labels,
        Sampling(solver, options.steps, grid, path),
        guidance,
        exact=options.exact,
        batch_size=options.batch_size,
        precision=options.precision,
    )
    generated = collect(track(batches, "sampling", total=-(-count // options.batch_size), transient=True))
    seconds = time.perf_counter() - began
    field, unit = ("exact", "evaluations") if options.exact else ("sample", "forwards")
    name = f"{type(solver).__name__}{options.steps}" + (f"_{type(path).__name__}" if path else "") + f"_{guidance.name}"
    name += (f"_ema{options.ema_std:g}" if options.ema_std is not None else "") + f"_seed{options.seed}"
    picture = free_name(trained.origin.run / "samples" / f"{field}_{name}.png")
    written = write_samples(generated.samples, labels, options.out) if options.out else None
    try:
        save_sample_grid(generated.samples, labels, picture)
        shown = [f"grid       {picture}"]
    except OSError as error:  # the run's folder may be for reading alone
        if written is None:
            cause = f"cannot be written to ({error.strerror})"
            raise UserError(cause, key=str(picture.parent), hint="add --out samples.npz") from error
        shown = []
    of_data = ", the exact field of the training data" if options.exact else ""
    cost = f"{options.steps} steps, {generated.nfe} {unit} a sample{of_data}"
    print(f"{count} samples in {seconds:.1f} s: {solver!r}{f' along {path!r}' if path else ''}, {cost}")
    if guidance.changes:
        print(f"guidance   {', '.join(f'{name} {show(value)}' for name, value in guidance.changes.items())}")
    for line in [*shown, *([f"samples    {written}"] if written else [])]:
        print(line)
    return 0


def choose_labels(trained: Trained, options: SampleOptions, num_classes: int | None) -> tuple[Tensor | None, int]:
    """The labels of the samples, of so many classes, and their number."""
    requested = trained.number_labels(None if options.labels is None else parse_labels(options.labels))
    count = options.num_samples
    if count is None and num_classes is not None:
        count = 10 * (len(requested) if requested else num_classes)
    if requested and count is not None and count >= len(requested):  # whole rows of one class each
        requested = [requested[index * len(requested) // count] for index in range(count)]
    labels = trained.choose_labels(count, requested, num_classes)
    return labels, (len(labels) if labels is not None else count or 64)
