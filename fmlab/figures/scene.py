"""The subjects of pictures of the theory: a path between two laws on the plane with its fields, or a path to images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fmlab.data.pixels import to_uint8
from fmlab.distributions import Distribution, Empirical, Gaussian, GaussianMixture, KernelDensity
from fmlab.errors import UserError
from fmlab.fields import ExactField, PairedField, PathField, guided
from fmlab.objectives import Coupling, Independent
from fmlab.paths import GaussianPath, ProbabilityPath
from fmlab.random import Purpose, keyed_generator

SAMPLES = 200_000
"""So many samples represent a law without closed form."""
PAIRS, BANDWIDTH, POOL = 12_000, 0.12, 500
"""So many pairs, seen through so much noise, represent a path whose source is not Gaussian; coupled in such pools."""

SMALLEST = 1e-3
"""A law that spreads less is drawn as a point."""

FieldFor = Callable[[int], PathField]
"""`make(n)`: a field for n points."""


@dataclass
class Scene:
    """A probability path from a source to data on the plane, with the fields along it.

    Attributes:
        source: The law at t = 0, or None for standard normal noise.
        learned: Makes a trained network's field, or None; it computes in float32.
        z: The data point that conditional quantities are given, or None for the first sample.
    """

    path: ProbabilityPath
    data: Distribution
    source: Distribution | None = None
    coupling: Coupling = field(default_factory=Independent)
    label: int | None = None
    guidance_scale: float = 1.0
    learned: Callable[[Tensor | None, float], PathField] | None = None
    z: Tensor | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.data.shape != (2,):
            raise UserError(f"two dimensions can be drawn, not shape {tuple(self.data.shape)}", key="data")
        if self.label is not None:
            self.known_law.restricted(self.label)
            if not self.is_gaussian:
                raise UserError("classes are known from noise to data only", key="label", hint="leave it out")
        elif self.guidance_scale != 1:
            raise UserError("guidance needs a class", key="guidance.scale", hint="add --label 0")

    @property
    def is_gaussian(self) -> bool:
        """Whether it goes from noise to independent data on a Gaussian path."""
        return isinstance(self.path, GaussianPath) and self.source is None and self.is_independent

    @property
    def is_independent(self) -> bool:
        """Whether source and data are independent."""
        return isinstance(self.coupling, Independent)

    def describe(self) -> str:
        """Says in a line what is drawn and how the exact quantities are known."""
        source = "noise" if self.source is None else type(self.source).__name__
        coupling = "" if self.is_independent else f", pairs by {self.coupling!r}"
        label = "" if self.label is None else f", class {self.label}"
        if not self.is_gaussian:
            exactness = f"exact for {PAIRS:,} pairs, seen through noise of std {BANDWIDTH:g}"
        elif isinstance(self.known_law, GaussianMixture):
            exactness = "exact in closed form"
        else:
            exactness = f"exact for its samples, seen through noise of std {self.known_law.bandwidth:g}"
        return f"from {source} to {type(self.data).__name__}{label} along {self.path!r}{coupling}; {exactness}"

    def knows_score(self, rows: Sequence[str]) -> bool:
        """Whether the fields of all these rows know the score."""
        x, t = torch.zeros(1, 2), torch.tensor((self.path.t_start + self.path.t_end) / 2)
        try:
            for row in rows:
                _ = self.fields()[row](1)(x, t).score
        except UserError:
            return False
        return True

    # Samples ----------------------------------------------------------------------------------------------------------

    def generator(self, purpose: Purpose) -> torch.Generator:
        """Makes the generator for a purpose, the same whatever else was sampled."""
        return keyed_generator(purpose, self.seed)

    def sample_source(self, n: int) -> Tensor:
        """Samples n points x_0, float64 of shape (n, 2), before the path scales them."""
        generator = self.generator(Purpose.NOISE)
        if self.source is None:
            return torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.source.sample(n, generator).double()

    def sample_data(self, n: int) -> Tensor:
        """Samples n points z, of the chosen class where there is one."""
        law = self.data if self.label is None else self.known_law.restricted(self.label)
        return law.sample(n, self.generator(Purpose.ORDER)).double()

    def sample_pairs(self, n: int) -> tuple[Tensor, Tensor]:
        """Samples data and source in pairs, coupled in pools."""
        data, source = self.sample_data(n), self.sample_source(n)
        if self.is_independent:
            return data, source
        generator = self.generator(Purpose.COUPLING)
        size = self.coupling.batch_size or POOL
        pools = zip(data.split(size), source.split(size))
        return data, torch.cat([self.coupling.pair(z, x0, None, generator) for z, x0 in pools])

    def sample(self, t: Tensor, n: int, given: Tensor | None = None) -> Tensor:
        """Samples n points x_t, of p_t(x | z) where z is given, else of p_t(x): the same pairs at every t."""
        data, source = self.sample_pairs(n) if given is None else (given.expand(n, 2), self.sample_source(n))
        noise = torch.randn(n, 2, generator=self.generator(Purpose.BRIDGE), dtype=torch.float64)
        return self.path.draw(data, source, t.double().expand(n), noise).x

    @cached_property
    def given(self) -> Tensor:
        """z, of shape (2,)."""
        return self.sample_data(1)[0] if self.z is None else self.z.double()

    # Fields -----------------------------------------------------------------------------------------------------------

    @cached_property
    def known_law(self) -> GaussianMixture | KernelDensity:
        """The law of the data, or of many samples of it seen through a little noise."""
        law = self.data
        if isinstance(law, (GaussianMixture, KernelDensity)):
            return law
        if isinstance(law, Empirical):
            return KernelDensity.binned(law.points, law.labels)
        generator = self.generator(Purpose.FLOOR)
        if law.num_classes is None:
            return KernelDensity.binned(law.sample(SAMPLES, generator))
        return KernelDensity.binned(*law.sample_labelled(SAMPLES, generator))

    def fields(self) -> dict[str, FieldFor]:
        """The fields of this scene, of `conditional` (given z), `marginal` (exact) and `learned`."""
        fields: dict[str, FieldFor] = {"conditional": self.conditional} if self.is_independent else {}
        fields["marginal"] = self.marginal
        if self.learned is not None:
            fields["learned"] = self._learned
        return fields

    def in_precision_of(self, name: str, x: Tensor) -> Tensor:
        """Casts points to the precision of a field: float32 for a network and for many pairs, else float64."""
        return x.float() if name == "learned" or not self.is_gaussian else x.double()

    def conditional(self, n: int) -> PathField:
        """Makes the conditional field u_t(x | z)."""
        if isinstance(self.path, GaussianPath):
            return ExactField(Gaussian(self.given, torch.zeros(2, 2, dtype=torch.float64)), self.path)
        source = self.sample_source(PAIRS // 4)
        return PairedField(self.path, self.given.expand_as(source), source, BANDWIDTH / 2)

    def marginal(self, n: int) -> PathField:
        """Makes the exact marginal field u_t(x)."""
        if not self.is_gaussian:
            return self._paired
        assert isinstance(self.path, GaussianPath)
        return guided(ExactField(self.known_law, self.path, self._labels(n)), self.guidance_scale)

    def _learned(self, n: int) -> PathField:
        assert self.learned is not None
        return self.learned(self._labels(n), self.guidance_scale)

    def _labels(self, n: int) -> Tensor | None:
        return None if self.label is None else torch.full((n,), self.label)

    @cached_property
    def _paired(self) -> PairedField:
        return PairedField(self.path, *self.sample_pairs(PAIRS), BANDWIDTH)

    # Densities --------------------------------------------------------------------------------------------------------

    def law(self, t: Tensor, *, conditional: bool = False) -> GaussianMixture | KernelDensity | None:
        """p_t(x | z) or p_t(x) at one t; None where it is a single point.

        Of a guided flow it is p_t of the class, which guidance leaves.
        """
        if not isinstance(self.path, GaussianPath) or not (conditional or self.is_gaussian):
            paired = self.conditional(1) if conditional else self._paired
            assert isinstance(paired, PairedField)
            return paired.law(t)
        alpha, beta = self.path.alpha(t.double()), self.path.beta(t.double())
        if conditional:
            point = beta < SMALLEST
            return None if point else Gaussian(alpha * self.given, beta.square() * torch.eye(2, dtype=torch.float64))
        law = self.known_law if self.label is None else self.known_law.restricted(self.label)
        return law.diffused(alpha, beta)


@dataclass(frozen=True)
class ImageScene:
    """A path from noise to the images of a data module.

    Raises:
        UserError: If the path does not start from noise.
    """

    path: ProbabilityPath
    data: Any
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.path, GaussianPath):
            raise UserError(f"of images a path from noise is drawn, not {type(self.path).__name__}", key="path")

    def sample_data(self, n: int) -> Tensor:
        """Samples n images, float of shape (n, C, H, W)."""
        split = self.data.split("train")
        rows = torch.randperm(len(split), generator=keyed_generator(Purpose.ORDER, self.seed))[:n]
        images: Tensor = self.data.on_after_batch_transfer(split.take(rows), 0)
        return images

    def sample(self, times: Tensor, n: int) -> Tensor:
        """Samples n images, each with its own noise, at all times: uint8 of shape (n, T, C, H, W)."""
        data = self.sample_data(n)
        noise = torch.randn(data.shape, generator=keyed_generator(Purpose.NOISE, self.seed))
        return torch.stack([to_uint8(self.path.draw(data, noise, t.float().expand(n)).x) for t in times], 1)

    def describe(self) -> str:
        """Says in a line what is drawn."""
        return f"from noise to {type(self.data).__name__} along {self.path!r}"
