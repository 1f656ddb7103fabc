"""Bits per dimension of held-out images, summed over images, dequantisations and probes."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.parts import MetricParts, Repeats
from fmlab.metrics.registry import Facts
from fmlab.records.measurements import Record

HELD_OUT: Literal["validation"] = "validation"
"""The split whose images are held out."""


class BitsPerDimension(SampleMetric):
    """The mean of bits per dimension over images, and how far it would be another by chance.

    Neither less nor more of it is better: solves that are too coarse miss bits, so that the least of several solvers'
    is not the best.

    Args:
        repeats: How often each image's likelihood is estimated.
    """

    facts = Facts(
        name="bpd",
        title="bits per dimension",
        kind="images",
        inputs=("samples",),
        outputs=("bpd",),
        better=None,
        least=1,
        estimator="ODE likelihood, Hutchinson's divergence (Rademacher, one probe a solve)",
        spread="standard deviation between probes, of the mean over all images with one probe each",
        against_reference=False,
        held_out=True,
    )

    count: Tensor
    sums: Tensor
    squares: Tensor

    def __init__(self, repeats: Repeats) -> None:
        super().__init__()
        self.repeats = repeats
        sums = torch.zeros(repeats.dequantisations, repeats.probes, dtype=torch.float64)
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def build(cls, parts: MetricParts) -> BitsPerDimension:
        """The mean over images of the held-out split."""
        return cls(parts.repeats)

    def update(self, bits: Tensor) -> None:
        """Adds the bits (B, dequantisations, probes), float64, of a batch of images."""
        bits = bits.to(self.sums.device)
        self.count = self.count + len(bits)
        self.sums = self.sums + bits.sum(0)
        self.squares = self.squares + bits.mean((1, 2)).square().sum()

    def compute(self) -> dict[str, float]:
        """`bpd` and its spreads.

        `bpd_std` is the standard deviation between probes, of the mean over all images with one probe each,
        `bpd_dequantisation_std` that between dequantisations (with the mean over their probes), both where there are
        two or more; `bpd_images_std` is the standard error over the images.
        """
        count, means = int(self.count), self.sums / self.count
        mean = means.mean().item()
        values = {"bpd": mean}
        if self.repeats.probes > 1:
            values["bpd_std"] = means.var(1).mean().sqrt().item()
        if self.repeats.dequantisations > 1:
            values["bpd_dequantisation_std"] = means.mean(1).std().item()
        if count > 1:
            values["bpd_images_std"] = math.sqrt(max(0.0, self.squares.item() / count - mean**2) / (count - 1))
        return values

    def estimator(self) -> str:
        """How it is computed, with the number of repeats."""
        return f"{self.facts.estimator}, {self.repeats}, v1"

    def measurement(self, parts: MetricParts) -> Record:
        """How the numbers are measured: on images of the held-out split."""
        data: Any = parts.data
        split, levels = data.split(HELD_OUT), len(list(getattr(data, "grey_levels", range(256))))
        size, content = len(split), split.content_hash
        return {
            "samples": parts.num_samples,
            "reference": {"data": type(data).__name__, "split": HELD_OUT, "size": size, "hash": content},
            "features": None,
            "resize": None,
            "uint8": f"uniform dequantisation in the cells of {levels} grey levels",
            "estimators": {self.facts.name: self.estimator()},
        }
