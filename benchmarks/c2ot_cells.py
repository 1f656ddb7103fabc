"""What stands in the rows and columns of C2OT's two-moons table, and how one cell of it is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from table_journal import Published, Values
from torch import Tensor
from toy_training import Pairs, Problem, train

from fmlab.fields import LearnedField
from fmlab.metrics.transport import wasserstein2
from fmlab.networks import ResidualMLP
from fmlab.objectives import ConditionalOT, Coupling, Independent, MinibatchOT
from fmlab.paths import Interpolant
from fmlab.random import fixed_generator, fold
from fmlab.solvers import Dopri5, Euler, UniformGrid

BATCH, MATCHED = 256, 1024
WIDTH, DEPTH = 128, 3
TOLERANCE = 1e-4
RATIO = 0.05

# What a keyed draw is for.
_TRAINING, _NETWORK, _TEST = range(3)

SOURCE_STD = 0.1**0.25
"""The script's covariance is the root of its `var`, 0.1, so that this is each mode's standard deviation."""


def source(n: int, generator: torch.Generator) -> Tensor:
    """Eight Gaussians on a circle of radius 5, each of standard deviation 0.56."""
    angle = torch.randint(8, (n,), generator=generator) * (math.pi / 4)
    return 5 * torch.stack([angle.cos(), angle.sin()], 1) + SOURCE_STD * torch.randn(n, 2, generator=generator)


def moons(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two moons, three times torchdyn's less 1, and the label of each point: first one moon, then the other.

    Angles are evenly spaced; the noise is uniform in [0, 0.2) and moves a point along the diagonal.
    """
    halves = []
    for label, count in enumerate((n // 2, n - n // 2)):
        angle = torch.linspace(0, math.pi, count)
        moon = torch.stack([angle.cos(), angle.sin()], 1)
        halves.append(torch.tensor([1.0, 0.5]) - moon if label else moon)
    x = torch.cat(halves) + 0.2 * torch.rand(n, 1, generator=generator)
    return 3 * x - 1, (torch.arange(n) >= n // 2).long()


CONDITIONS: dict[str, Callable[[Tensor, Tensor], Tensor | None]] = {
    "unconditional": lambda x, label: None,
    "class": lambda x, label: 2.0 * label[:, None] - 1,
    "x coordinate": lambda x, label: x[:, :1],
}
COLUMNS = list(CONDITIONS)

ROWS = ["FM", "OT", "C2OT"]
# The network with its last layer as torch makes it, as in the published script; ours begins at zero. Not of the table.
FIRST_WEIGHTS = ", torch's first weights"
VARIANTS = [row + FIRST_WEIGHTS for row in ROWS]
FLOOR = "real data"


def method_of(row: str) -> str:
    """The row of the table that this one is, or is a variant of."""
    return row.removesuffix(FIRST_WEIGHTS)


def coupling(row: str, column: str) -> Coupling:
    """A row's coupling for conditions of a kind."""
    row = method_of(row)
    if row == "FM":
        return Independent()
    if row == "OT":
        return MinibatchOT()
    return ConditionalOT() if column == "class" else ConditionalOT(target_ratio=RATIO)


def exists(row: str, column: str) -> bool:
    """Whether it is a cell of its own: without conditions C2OT is OT, and real data are the same under all of them."""
    return column != "unconditional" if method_of(row) == "C2OT" else row != FLOOR or column == "unconditional"


@dataclass(frozen=True)
class Settings:
    """What shapes a cell's numbers.

    Attributes:
        steps: Optimizer steps.
        matchings: How many times transport matches 1024 new pairs; after them the pairs come again, reshuffled.
        points: Points to test on.
    """

    steps: int = 20_000
    matchings: int = 5000
    points: int = 10_000

    @property
    def pools(self) -> int:
        """Sets of 1024 pairs that so many steps use."""
        return -(-self.steps * BATCH // MATCHED)

    def for_row(self, row: str) -> Settings:
        """The same, without what has no part in this row."""
        if row == FLOOR:
            return replace(self, steps=0, matchings=0)
        return replace(self, matchings=self.pools if method_of(row) == "FM" else min(self.matchings, self.pools))


def pools(row: str, column: str, settings: Settings, generator: torch.Generator) -> Iterator[Pairs]:
    """1024 pairs at a time.

    As in the published script the data of FM come moon by moon and along each, and those of the others in random order.
    """
    parts: list[Pairs] = []
    for index in range(settings.pools):
        if index < settings.matchings:
            start, (data, label) = source(MATCHED, generator), moons(MATCHED, generator)
            pairs = Pairs(data, start, CONDITIONS[column](data, label))
            if method_of(row) != "FM":
                start = coupling(row, column).pair(data, start, pairs.condition, generator)
                pairs = Pairs(data, start, pairs.condition).rows(torch.randperm(MATCHED, generator=generator))
                parts.append(pairs)
        else:
            if index % settings.matchings == 0:
                everything = _joined(parts)
                order = torch.randperm(len(everything), generator=generator).split(MATCHED)
            pairs = everything.rows(order[index % settings.matchings])
        yield pairs


def _joined(parts: list[Pairs]) -> Pairs:
    conditions = [part.condition for part in parts if part.condition is not None]
    return Pairs(
        torch.cat([part.data for part in parts]),
        torch.cat([part.source for part in parts]),
        torch.cat(conditions) if conditions else None,
    )


def fitted(row: str, column: str, seed: int, settings: Settings) -> tuple[torch.nn.Module, Interpolant]:
    """A trained network and its path."""
    index = COLUMNS.index(column)
    torch.manual_seed(fold(seed, index, _NETWORK))
    condition_dim = None if column == "unconditional" else 1
    network = ResidualMLP((2,), condition_dim=condition_dim, width=WIDTH, depth=DEPTH)
    if row in VARIANTS:
        network.last.reset_parameters()
    problem = Problem(network, Interpolant())
    optimizer = torch.optim.Adam(problem.network.parameters(), lr=3e-4, fused=True)
    generator = fixed_generator(seed, index, _TRAINING)
    train(problem, pools(row, column, settings.for_row(row), generator), BATCH, optimizer, generator)
    return problem.network, Interpolant()


@torch.no_grad()
def measure(row: str, column: str, seed: int, settings: Settings) -> Values:
    """The squared 2-Wasserstein distance after one Euler step and after an adaptive solve, and the latter's NFE."""
    generator = fixed_generator(seed, COLUMNS.index(column), _TEST)
    start, (data, label) = source(settings.points, generator), moons(settings.points, generator)
    if row == FLOOR:
        return {"w2_squared": float(wasserstein2(moons(settings.points, generator)[0], data)) ** 2}
    with torch.enable_grad():
        network, path = fitted(row, column, seed, settings)
    values: Values = {}
    for name, solver in (("euler", Euler()), ("adaptive", Dopri5(TOLERANCE, TOLERANCE))):
        field = LearnedField(network, path, "velocity", CONDITIONS[column](data, label))
        end = solver.solve(field, path.initial(start), UniformGrid()(1, path))
        values[name] = float(wasserstein2(end, data)) ** 2
        values[f"{name}_nfe"] = field.nfe
    return values


def _cells(euler: tuple[float, float], adaptive: tuple[float, float]) -> dict[str, Published]:
    return {"euler": Published(*euler), "adaptive": Published(*adaptive)}


PUBLISHED = {
    ("FM", "unconditional"): _cells((6.232, 0.186), (0.120, 0.045)),
    ("OT", "unconditional"): _cells((0.072, 0.025), (0.050, 0.040)),
    ("FM", "class"): _cells((2.573, 0.112), (0.059, 0.029)),
    ("OT", "class"): _cells((0.483, 0.059), (0.462, 0.025)),
    ("C2OT", "class"): _cells((0.048, 0.010), (0.018, 0.006)),
    ("FM", "x coordinate"): _cells((0.732, 0.052), (0.028, 0.010)),
    ("OT", "x coordinate"): _cells((8.276, 6.510), (2.143, 1.993)),
    ("C2OT", "x coordinate"): _cells((0.077, 0.024), (0.013, 0.003)),
}
# What a variant is held against.
PUBLISHED |= {(row + FIRST_WEIGHTS, column): cells for (row, column), cells in PUBLISHED.items()}
