"""What is diagnosed: a trained network, and how it is sampled: as its own validation does, with what options change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fmlab.config.build import build
from fmlab.config.merge import ARGS, CLASS
from fmlab.config.options import Component
from fmlab.config.parts import with_arguments
from fmlab.config.values import read_file
from fmlab.data import DataModule
from fmlab.errors import UserError
from fmlab.fields import Sampling, collect, generate, resolve_precision
from fmlab.metrics.features import FeatureKind
from fmlab.paths import GaussianPath
from fmlab.random import Purpose, keyed_generator
from fmlab.records import RunLayout
from fmlab.solvers import Grid, Solver
from fmlab.training import SampleGrid, SampleMetrics
from fmlab.training.generative_module import GenerativeModule


@dataclass
class Subject:
    """A trained network, its data, and how it is sampled.

    Seeds and labels are fixed, so that every way of solving starts from the same noise and is asked for the same
    classes, drawn from the training set's frequencies.

    Attributes:
        module: With the weights that are to be diagnosed.
        sampling: The run's own sampler, with its guidance scale.
        n: Samples to measure sets by.
        pairs: Samples to compare solvers by, one by one, the first of those; 32 images or 256 points if left out.
        seed: The seed of the first sample; the others follow.
        batch_size: Samples per solve.
        precision: What the network computes in while it makes samples, see `fmlab.fields.Precision`.
    """

    module: GenerativeModule
    data: Any
    sampling: Sampling
    guidance_scale: float = 1.0
    n: int = 500
    pairs: int = 0
    seed: int = 1_000_000
    batch_size: int = 250
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"

    def __post_init__(self) -> None:
        self.precision = resolve_precision(self.precision, self.device)
        if not isinstance(self.data, DataModule):
            hint = "derive it from fmlab.data.DataModule"
            raise UserError(f"{type(self.data).__name__} has no splits to compare with", key="data", hint=hint)
        # Points cost little, and their distances vary more than those of images.
        self.pairs = self.pairs or (32 if self.images else 256)
        for name, least in (("n", 2), ("pairs", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UserError(f"at least {least}, got {getattr(self, name)}", key=name)
        self.pairs = min(self.pairs, self.n)
        self.module = self.module.to(self.device).eval()
        self.shape = tuple(self.data.shape)

    @property
    def images(self) -> bool:
        """Whether samples are images rather than points."""
        return str(self.data.kind) == "images"

    def labels(self, count: int) -> Tensor | None:
        """The labels of the first samples, or None for a model without labels."""
        if self.module.num_classes is None:
            return None
        generator = keyed_generator(Purpose.LABELS, self.seed)
        drawn = torch.multinomial(self.data.label_frequencies(), self.n, replacement=True, generator=generator)
        return drawn[:count]

    def solve(self, sampling: Sampling, count: int, guidance_scale: float | None = None) -> tuple[Tensor, int]:
        """The first `count` samples, on the CPU, and forwards per sample; at the subject's own scale if None."""
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        batches = generate(
            lambda condition: self.module.field(condition, scale),
            sampling,
            range(self.seed, self.seed + count),
            self.shape,
            self.labels(count),
            batch_size=self.batch_size,
            device=self.device,
            start=self.module.source.start,
            precision=self.precision,
        )
        generated = collect(batches)
        if not bool(generated.samples.isfinite().all()):
            raise UserError(f"{sampling.solver!r} with {sampling.steps} steps gives samples that are not finite")
        return generated.samples, generated.nfe


@dataclass(frozen=True)
class RunSampler:
    """How the samples of a run are made and measured, and the section of the configuration that says so."""

    sampling: Sampling
    guidance_scale: float
    features: FeatureKind
    section: dict[str, Any]


def read_run_sampler(layout: RunLayout, trust: bool = False) -> RunSampler:
    """The sampler of a run's `fid` section; else of its `samples`; else that of `fid` where nothing is said."""
    config = read_file(layout.config)
    if isinstance(config.get("samples"), dict) and not isinstance(config.get("fid"), dict):
        section = config["samples"]
        grids = build({CLASS: "fmlab.training.SampleGrid", ARGS: section}, SampleGrid, "samples", trust)
        return RunSampler(grids.sampling, grids.guidance_scales[0], "auto", section)
    section = config.get("fid") or {}
    metrics = build({CLASS: "fmlab.training.SampleMetrics", ARGS: section}, SampleMetrics, "fid", trust)
    return RunSampler(metrics.sampling, metrics.guidance_scale, metrics.features, section)


def change_sampling(
    run_sampler: RunSampler, solver: Component, grid: Component, path: Component, steps: int | None = None
) -> Sampling:
    """The run's own sampling with what options name in the place of its parts, or arguments that change these."""

    def choose(name: str, option: Component, base: type) -> Any:
        if option == Component():
            return getattr(run_sampler.sampling, name)
        node = option.name or run_sampler.section.get(name)
        if node is None:
            raise UserError(f"no {name} takes this argument", key=f"{name}.{next(iter(option.arguments))}")
        return build(with_arguments(node, option.arguments, name), base, name)

    return Sampling(
        choose("solver", solver, Solver),
        run_sampler.sampling.steps if steps is None else steps,
        choose("grid", grid, Grid),
        choose("path", path, GaussianPath),
    )
