"""What is diagnosed: a trained network, and how it is sampled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fmlab.data import DataModule
from fmlab.errors import UserError
from fmlab.fields import Sampling, collect, generate, resolve_precision
from fmlab.random import Purpose, keyed_generator
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
        generator = keyed_generator(self.seed, Purpose.LABELS)
        drawn = torch.multinomial(self.data.label_frequencies(), self.n, replacement=True, generator=generator)
        return drawn[:count]

    def solve(self, sampling: Sampling, count: int, guidance_scale: float | None = None) -> tuple[Tensor, int]:
        """The first `count` samples, on the CPU, and network forwards per sample; by the subject's own scale if None.

        Raises:
            UserError: If a sample is not finite.
        """
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
