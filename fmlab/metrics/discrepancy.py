"""The unbiased squared maximum mean discrepancy between two sets of rows (Gretton et al., 2012), for any kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fmlab.errors import UserError

Kernel = Callable[[Tensor, Tensor], Tensor]


def mean_between(x: Tensor, y: Tensor, kernel: Kernel, at_once: int = 1024) -> Tensor:
    """Mean kernel over all pairs of a row of x with a row of y, a float64 scalar, so many rows of x at a time."""
    x, y = x.double(), y.double()
    return torch.stack([kernel(part, y).sum() for part in x.split(at_once)]).sum() / (len(x) * len(y))


def mean_within(x: Tensor, kernel: Kernel, at_once: int = 1024) -> Tensor:
    """Mean kernel over all pairs of two different rows of x, a float64 scalar."""
    x = x.double()
    sums = []
    for start in range(0, len(x), at_once):
        values = kernel(x[start : start + at_once], x)
        sums.append(values.sum() - values.diagonal(offset=start).sum())
    return torch.stack(sums).sum() / (len(x) * (len(x) - 1))


class GatheredRows(Metric):
    """A metric of whole sets: it keeps the rows it is given, and gathers those of all ranks, from a reference.

    Args:
        reference: Reference rows (M, D), at least two.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    rows: list[Tensor]
    reference: Tensor

    def __init__(self, reference: Tensor) -> None:
        super().__init__()
        if reference.ndim != 2 or len(reference) < 2:
            raise UserError(f"a reference is at least 2 rows (M, D), not {tuple(reference.shape)}")
        self.register_buffer("reference", reference.detach().float(), persistent=False)
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets all rows."""
        super().reset()
        # A rank without any row still has a (0, D) one: torchmetrics cannot gather it beside (B, D) otherwise.
        self.rows.append(self.reference[:0])

    def update(self, rows: Tensor) -> None:
        """Adds rows (B, D): features of images, or points."""
        self.rows.append(rows.detach().to(self.reference))

    def gathered(self) -> Tensor:
        """All rows so far (N, D), in `compute` those of all ranks.

        Raises:
            UserError: They are fewer than two.
        """
        rows = dim_zero_cat(self.rows)
        if len(rows) < 2:
            raise UserError(f"{type(self).__name__} needs at least 2 samples, not {len(rows)}")
        return rows


class SampleDiscrepancy(GatheredRows):
    """Unbiased squared maximum mean discrepancy of the rows it is given from a reference; below zero by chance too.

    Every pair counts once, so neither batch size nor order nor the number of ranks matters.

    Args:
        reference: Reference rows (M, D), at least two.
    """

    def __init__(self, reference: Tensor) -> None:
        super().__init__(reference)
        self._within: Tensor | None = None

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel values (N, M) of all pairs of float64 rows (N, D) and (M, D)."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        """The estimate, a float64 scalar.

        Raises:
            UserError: Fewer than two rows were given.
        """
        rows = self.gathered()
        if self._within is None:
            self._within = mean_within(self.reference, self.kernel)
        between = mean_between(rows, self.reference, self.kernel)
        return mean_within(rows, self.kernel) + self._within.to(between.device) - 2 * between
