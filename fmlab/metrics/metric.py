"""What every metric of samples promises, and the base of those that compare rows of two sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fmlab.errors import UserError
from fmlab.metrics.measurement import measurement
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import Facts, metric_key, source_hash
from fmlab.metrics.subset import MOST_ROWS, keyed_rows
from fmlab.records.measurements import Record


class SampleMetric(Metric):
    """A metric of a set of samples that come in batches, in any order, on any number of ranks.

    A subclass states its `facts`, makes itself in `build`, takes in `update` what `facts.inputs` names, and gives in
    `compute` a value for each of `facts.outputs`; where it knows their spread, also `NAME_std` for each.
    """

    is_differentiable = False
    full_state_update = False

    facts: ClassVar[Facts]

    @classmethod
    def build(cls, parts: MetricParts) -> SampleMetric:
        """The metric against the reference, by the features and classifier of `parts`, each made when it is asked for.

        Raises:
            UserError: The data, the features or the reference lack what it needs.
        """
        raise NotImplementedError

    def compute(self) -> Mapping[str, Tensor | float]:
        """The values and spreads by name, over all ranks."""
        raise NotImplementedError

    def estimator(self) -> str:
        """How it is computed, for the measurement; of a metric of the user's own its code is part of that."""
        code = "" if type(self).__module__.startswith("fmlab.") else f"; code {source_hash(type(self))}"
        return self.facts.estimator + code

    def measurement(self, parts: MetricParts) -> Record:
        """How its numbers are measured."""
        network = parts.network if self.facts.kind == "images" else None
        key = metric_key(self.facts.name, parts.features_of(self.facts), "")
        return measurement({key: self.estimator()}, parts.num_samples, parts.reference_record(), network)

    def remarks(self, parts: MetricParts) -> list[str]:
        """What a reader of the numbers should know, a line each."""
        return []


class FeatureRows(SampleMetric):
    """A metric that compares the rows of a set (features of images, or points) with those of a reference.

    With `num_samples` it keeps a fixed choice of the rows, so that memory has a bound; which ones follows from that
    number alone. The order of the rows is then that of the set, whatever batches and ranks they came in.

    Args:
        reference: Reference rows (M, D), at least two.
        num_samples: Samples of the whole set; None keeps every row.
        limit: The most rows that are kept.
    """

    rows: list[Tensor]
    places: list[Tensor]
    reference: Tensor

    def __init__(self, reference: Tensor, num_samples: int | None = None, limit: int = MOST_ROWS) -> None:
        super().__init__()
        if reference.ndim != 2 or len(reference) < 2:
            raise UserError(f"a reference is at least 2 rows (M, D), not {tuple(reference.shape)}")
        self.register_buffer("reference", reference.detach().float(), persistent=False)
        self._chosen: Tensor | None = None
        if num_samples is not None:
            self._chosen = torch.zeros(num_samples, dtype=torch.bool)
            self._chosen[keyed_rows(num_samples, limit)] = True
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.add_state("places", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets all rows."""
        super().reset()
        # A rank without any row still has a (0, D) one: torchmetrics cannot gather it beside (B, D) otherwise.
        self.rows.append(self.reference[:0])
        self.places.append(torch.zeros(0, dtype=torch.int64, device=self.reference.device))

    def update(self, rows: Tensor, places: Tensor | None = None) -> None:
        """Adds rows (B, D); a metric that knows `num_samples` needs their places in the set, int64 (B,)."""
        if self._chosen is None:
            self.rows.append(rows.detach().to(self.reference))
            return
        assert places is not None
        chosen = self._chosen[places.cpu()]
        self.rows.append(rows.detach()[chosen.to(rows.device)].to(self.reference))
        self.places.append(places[chosen.to(places.device)].to(self.reference.device))

    def gathered(self) -> Tensor:
        """The rows (N, D), float32, in `compute` those of all ranks.

        Raises:
            UserError: They are fewer than two.
        """
        rows = dim_zero_cat(self.rows)
        if len(rows) < 2:
            raise UserError(f"{type(self).__name__} needs at least 2 samples, not {len(rows)}")
        return rows if self._chosen is None else rows[dim_zero_cat(self.places).argsort()]
