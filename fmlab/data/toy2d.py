"""Points on the plane, from the laws of `fmlab.distributions`."""

from __future__ import annotations

from fmlab.data.base import DataModule, SplitName
from fmlab.data.sets import BatchSet, TensorSet
from fmlab.distributions import shape_2d
from fmlab.errors import UserError
from fmlab.random import Purpose, fixed_generator

_FIXED = 2  # keys the points: they belong to the data, not to a run's seed


class Toy2D(DataModule):
    """A fixed set of points drawn from a two-dimensional law; the same points in every run.

    Attributes:
        distribution: The law itself; `mixture` and `8gaussians` also have its log-density and score.

    Args:
        name: moons, 8gaussians, checkerboard, circles, scurve, spiral or mixture.
        train_size: Points to train on.
        validation_size: Points to validate on.
        global_batch_size: Points an optimizer step, over all devices and accumulated batches.
        seed: The key of the training order.
        labelled: Label each point with its moon, circle or mode; the other shapes have no classes.
        reference: The split that generated points are compared with.

    Raises:
        UserError: When there is no such law, it has no classes, or a number is not positive.
    """

    shape = (2,)
    kind = "points"

    def __init__(
        self,
        name: str = "moons",
        train_size: int = 10_000,
        validation_size: int = 10_000,
        global_batch_size: int = 512,
        seed: int = 0,
        labelled: bool = False,
        reference: SplitName = "train",
    ) -> None:
        super().__init__(global_batch_size, seed, reference)
        self.name, self.labelled = name, labelled
        for key, size in (("train_size", train_size), ("validation_size", validation_size)):
            if size < 1:
                raise UserError(f"must be at least 1, got {size}", key=f"data.{key}")
        self.train_size, self.validation_size = train_size, validation_size
        try:
            self.distribution = shape_2d(name)
        except UserError as error:
            raise UserError(error.message, key="data.name", hint=error.hint) from None
        if labelled:
            self.num_classes = self.distribution.num_classes
            if self.num_classes is None:
                raise UserError(f"the shape '{name}' has no classes", key="data.labelled")
            self.class_names = [str(label) for label in range(self.num_classes)]

    def read(self) -> tuple[BatchSet, BatchSet]:
        return self._drawn(self.train_size, 0), self._drawn(self.validation_size, 1)

    def _drawn(self, size: int, part: int) -> TensorSet:
        generator = fixed_generator(_FIXED, Purpose.NOISE, part)
        if self.labelled:
            return TensorSet(*self.distribution.sample_labelled(size, generator))
        return TensorSet(self.distribution.sample(size, generator))
