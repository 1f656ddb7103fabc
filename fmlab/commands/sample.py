"""`fmlab sample`: images from a finished run."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from fmlab.commands.guidance_options import check_used, read_guidance
from fmlab.config.parts import Parts, part
from fmlab.config.values import show
from fmlab.data.pixels import to_uint8
from fmlab.errors import UserError
from fmlab.fields import Generated, Guidance, Sampling, collect
from fmlab.figures import image_grid, point_cloud, save_png
from fmlab.inference.load import load
from fmlab.inference.trained import Trained
from fmlab.paths import GaussianPath
from fmlab.solvers import Grid, Solver


def draw_samples(options: argparse.Namespace, parts: Parts) -> int:
    """Draws samples, and writes a grid and what `--out` asks for."""
    trained = load(options.run, options.checkpoint, options.weights, options.device, options.ema_std, options.trust)
    solver, grid = part("solver", options.solver, Solver, parts), part("grid", options.grid, Grid, parts)
    path = part("path", options.path, GaussianPath, parts) if options.path else None
    sampling = Sampling(solver, options.steps, grid, path)
    guidance = read_guidance(options, options.guidance_scale)
    check_used([guidance])
    labels, n = choose(trained, options, trained.count_classes(guidance))
    generated, seconds = draw(trained, sampling, guidance, labels, n, options)
    samples = generated.samples
    picture = write_grid(trained, samples, labels, options, sampling, guidance)
    cost = f"{options.steps} steps, {generated.nfe} {'evaluations' if options.exact else 'forwards'} a sample"
    along = f" along {path!r}" if path else ""
    field = ", the exact field of the training data" if options.exact else ""
    print(f"{n} samples in {seconds:.1f} s: {solver!r}{along}, {cost}{field}")
    if guidance.changes:
        print(f"guidance   {', '.join(f'{name} {show(value)}' for name, value in guidance.changes.items())}")
    print(f"grid       {picture}")
    if options.out:
        print(f"samples    {write_samples(samples, labels, Path(options.out))}")
    return 0


def choose(trained: Trained, options: argparse.Namespace, num_classes: int | None) -> tuple[torch.Tensor | None, int]:
    """The labels of the samples, of so many classes, and their number."""
    if options.n is not None and options.n < 1:
        raise UserError(f"{options.n} samples", key="n", hint="at least 1")
    wanted = parse_labels(options.labels)
    n = options.n
    if n is None and num_classes is not None:
        n = 10 * (len(wanted) if wanted else num_classes)
    if wanted and n is not None and n >= len(wanted):  # whole rows of one class each
        wanted = [wanted[index * len(wanted) // n] for index in range(n)]
    labels = trained.choose_labels(n, wanted, num_classes)
    return labels, (len(labels) if labels is not None else n or 64)


def parse_labels(text: str | None) -> list[int] | None:
    """`3`, `0-9` or `1,4,7` as a list."""
    if text is None:
        return None
    labels: list[int] = []
    try:
        for word in text.split(","):
            first, _, last = word.partition("-")
            labels += range(int(first), int(last or first) + 1)
    except ValueError:
        raise UserError(f"cannot read {text!r}", key="labels", hint="write 3, 0-9 or 1,4,7") from None
    return labels


def draw(
    trained: Trained,
    sampling: Sampling,
    guidance: Guidance,
    labels: torch.Tensor | None,
    n: int,
    options: argparse.Namespace,
) -> tuple[Generated, float]:
    """The samples, with a progress bar, and the seconds they took."""
    began = time.perf_counter()
    seeds = range(options.seed, options.seed + n)
    batches = trained.generate_batches(
        seeds, labels, sampling, guidance, exact=options.exact, batch_size=options.batch_size
    )
    total = -(-n // options.batch_size)
    generated = collect(track(batches, "sampling", total=total, transient=True))
    return generated, time.perf_counter() - began


def write_grid(
    trained: Trained,
    samples: torch.Tensor,
    labels: torch.Tensor | None,
    options: argparse.Namespace,
    sampling: Sampling,
    guidance: Guidance,
) -> Path:
    """One picture of the samples, under the run's folder: one row a class where rows come out even."""
    path = f"_{type(sampling.path).__name__}" if sampling.path else ""
    name = f"{type(sampling.solver).__name__}{options.steps}{path}_{guidance.name}"
    name += (f"_ema{options.ema_std:g}" if options.ema_std is not None else "") + f"_seed{options.seed}.png"
    file = trained.origin.run / "samples" / f"{'exact' if options.exact else 'sample'}_{name}"
    if len(trained.shape) == 1:
        save_png(point_cloud(samples, samples[:0]), file)
        return file
    if not has_colours(samples):  # latents
        samples = samples[:, : 3 if samples.shape[1] > 3 else 1]
    rows = len(set(labels.tolist())) if labels is not None else 0
    columns = len(samples) // rows if rows and len(samples) % rows == 0 and len(samples) // rows <= 20 else 10
    save_png(image_grid(to_uint8(samples), min(columns, len(samples))), file)
    return file


def has_colours(samples: torch.Tensor) -> bool:
    """Whether samples are images with one or three channels."""
    return samples.ndim == 4 and samples.shape[1] in (1, 3)


def write_samples(samples: torch.Tensor, labels: torch.Tensor | None, out: Path) -> Path:
    """A `.npz` with `images` (uint8, NHWC, as evaluators read them) and `labels`, or one PNG a sample in a folder.

    What are no images is written as it is, under `points` or `samples`.
    """
    pictures = has_colours(samples)
    images = to_uint8(samples).permute(0, 2, 3, 1).numpy() if pictures else samples.numpy()
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        name = "images" if pictures else "points" if samples.ndim == 2 else "samples"
        arrays: dict[str, Any] = {name: images}
        if labels is not None:
            arrays["labels"] = labels.numpy()
        np.savez(out, **arrays)
        return out
    if not pictures:
        raise UserError("these samples are no pictures", key="out", hint="write --out samples.npz")
    for index, image in enumerate(images):
        label = f"_class{labels[index]}" if labels is not None else ""
        save_png(image.repeat(3, 2) if image.shape[2] == 1 else image, out / f"{index:06d}{label}.png")
    return out
