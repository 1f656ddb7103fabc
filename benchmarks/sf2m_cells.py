"""What stands in the rows and columns of [SF]2M's Table 2, and how one cell of it is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import torch
from sklearn.datasets import make_moons, make_s_curve
from table_journal import Published, Values
from torch import Tensor, nn
from toy_training import Pairs, Problem, train

from fmlab.fields import LearnedField
from fmlab.metrics.transport import normalised_path_energy, wasserstein2
from fmlab.networks import PlainMLP
from fmlab.objectives import Coupling, Independent, MinibatchOT, SinkhornOT
from fmlab.paths import CondOT, Output, ProbabilityPath, SchrodingerBridge, SmoothedInterpolant
from fmlab.random import fixed_generator
from fmlab.solvers import Euler, UniformGrid

BATCH = 512
WIDTH, DEPTH = 64, 3
CHECK_EPOCHS = 10
EULER_STEPS = 100
RECTIFIED_EPOCHS = 100  # so many epochs' pairs a flow makes for the next; they come again after that

# The splits in the order in which they share a column's points, and what else a keyed draw is for.
_TRAIN, _VALIDATION, _TEST, _POINTS, _PAIRS, _TRAINING, _NETWORK, _RECTIFY, _ANEW = range(9)


# Columns --------------------------------------------------------------------------------------------------------------


def normal(n: int, generator: torch.Generator) -> Tensor:
    """Standard normal points."""
    return torch.randn(n, 2, generator=generator)


def eight_gaussians(radius: float, std: float, equal: bool) -> Callable[[int, torch.Generator], Tensor]:
    """Eight Gaussians on a circle, with equal numbers of points or with equal chances."""

    def draw(n: int, generator: torch.Generator) -> Tensor:
        mode = torch.randperm(n, generator=generator) % 8 if equal else torch.randint(8, (n,), generator=generator)
        angle = mode * (math.pi / 4)
        centre = radius * torch.stack([angle.cos(), angle.sin()], 1)
        return centre + std * torch.randn(n, 2, generator=generator)

    return draw


def _state(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator))


def small_moons(n: int, generator: torch.Generator) -> Tensor:
    """scikit-learn's moons with noise 0.05, times 2, one to the left."""
    x = torch.from_numpy(make_moons(n, noise=0.05, random_state=_state(generator))[0]).float()
    return 2 * x - torch.tensor([1.0, 0.0])


def large_moons(n: int, generator: torch.Generator) -> Tensor:
    """scikit-learn's moons with noise 0.1, to mean 0 and standard deviation 7 over all entries."""
    x = torch.from_numpy(make_moons(n, noise=0.1, random_state=_state(generator))[0]).float()
    return 7 * (x - x.mean()) / x.std()


def s_curve(n: int, generator: torch.Generator) -> Tensor:
    """First and last coordinate of scikit-learn's S curve with noise 0.05, times 1.5."""
    x = torch.from_numpy(make_s_curve(n, noise=0.05, random_state=_state(generator))[0]).float()
    return 1.5 * x[:, [0, 2]]


@dataclass(frozen=True)
class Column:
    """A source and the data it is taken to; where the source is noise, training draws it anew for every batch."""

    source: Callable[[int, torch.Generator], Tensor]
    data: Callable[[int, torch.Generator], Tensor]

    @property
    def from_noise(self) -> bool:
        return self.source is normal


COLUMNS = {
    "N->8gaussians": Column(normal, eight_gaussians(5.0, 1.0, equal=True)),
    "moons->8gaussians": Column(large_moons, eight_gaussians(12.0, 1.5, equal=False)),
    "N->moons": Column(normal, small_moons),
    "N->scurve": Column(normal, s_curve),
}


# Rows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A method: path and coupling; whether it learns the score too, rectifies its flow, draws every validation anew."""

    path: Callable[[], ProbabilityPath]
    coupling: Callable[[], Coupling] = Independent
    output: Output = "velocity"
    rectified: bool = False
    validated_anew: bool = False


class RunnerBridge(SchrodingerBridge):
    """The bridge with the velocity that TorchCFM's runner asks for: the noise times d gamma^2 / dt, not d gamma / dt.

    The runner divides the derivative of the variance by gamma and multiplies with gamma eps; the paper's formula
    divides by 2 gamma^2. Its target is 2 gamma times the right one: equal at t = 1/2, and bounded at both ends, where
    the right one is infinite. Here to see what the published path energies come from.
    """

    def noise_scale_dot(self, t: Tensor) -> Tensor:
        return self.sigma**2 * (1 - 2 * t)


# Rows that train on the same pairs follow one another.
ROWS = {
    "[SF]2M-Exact": Row(SchrodingerBridge, MinibatchOT, "velocity_and_score"),
    "OT-CFM": Row(SmoothedInterpolant, MinibatchOT),
    "[SF]2M-I": Row(SchrodingerBridge, Independent, "velocity_and_score"),
    "I-CFM": Row(SmoothedInterpolant),
    "FM": Row(lambda: CondOT(sigma_min=0.1)),
    "RF": Row(SmoothedInterpolant, rectified=True),
    "SB-CFM": Row(SchrodingerBridge, lambda: SinkhornOT(regularisation=2.0)),
}
# Where TorchCFM's runner does otherwise than the paper says or than is done here; not of the table itself.
RUNNER = "[SF]2M-Exact, target of TorchCFM's runner"
ANEW = ", validated anew"
VARIANTS = {RUNNER: replace(ROWS["[SF]2M-Exact"], path=RunnerBridge)} | {
    name + ANEW: replace(row, validated_anew=True) for name, row in ROWS.items() if not row.rectified
}
FLOOR = "real data"


def method_of(row: str) -> Row:
    """The method of a row, or of a variant of one."""
    return (ROWS | VARIANTS)[row]


def exists(row: str, column: str) -> bool:
    """Whether the method takes that source: FM starts from noise alone."""
    return row.removesuffix(ANEW) != "FM" or COLUMNS[column].from_noise


@dataclass(frozen=True)
class Settings:
    """What shapes a cell's numbers.

    Attributes:
        epochs: Passes over the training points.
        matched_epochs: Epochs whose pairs are matched anew by transport; after them the pairs come again, reshuffled.
        points: Points to train on, to validate on and to test on, each.
    """

    epochs: int = 1000
    matched_epochs: int = 1000
    points: int = 10_000

    @property
    def batches(self) -> int:
        """Steps an epoch; what does not fill a batch is left out."""
        return max(1, self.points // BATCH)

    @property
    def batch(self) -> int:
        """Pairs a step."""
        return min(BATCH, self.points)

    def for_row(self, row: str) -> Settings:
        """The same, without what has no part in this row."""
        if row == FLOOR:
            return replace(self, epochs=0, matched_epochs=0)
        matched = self.epochs if method_of(row).coupling is Independent else min(self.matched_epochs, self.epochs)
        return replace(self, matched_epochs=matched)


# A cell ---------------------------------------------------------------------------------------------------------------


def _generator(column: str, seed: int, purpose: int) -> torch.Generator:
    return fixed_generator(seed, list(COLUMNS).index(column), purpose)


def points(column: str, seed: int, split: int, n: int) -> tuple[Tensor, Tensor]:
    """Source and data of one split: n of 3 n points drawn together, so that a class is not exactly balanced in it."""
    generator = _generator(column, seed, _POINTS)
    source, data = COLUMNS[column].source(3 * n, generator), COLUMNS[column].data(3 * n, generator)
    order = torch.randperm(3 * n, generator=generator)
    return source[split * n : (split + 1) * n], data[order[split * n : (split + 1) * n]]


@lru_cache(maxsize=1)  # rows of one coupling follow one another and train on the same pairs
def matched(column: str, seed: int, row: str, settings: Settings) -> Pairs:
    """The pairs of `settings.matched_epochs` epochs, matched batch by batch."""
    source, data = points(column, seed, _TRAIN, settings.points)
    coupling, generator = method_of(row).coupling(), _generator(column, seed, _PAIRS)
    batches = []
    for _ in range(settings.matched_epochs):
        shuffled = data[torch.randperm(len(data), generator=generator)]
        if COLUMNS[column].from_noise:
            start = normal(len(data), generator)
        else:
            start = source[torch.randperm(len(source), generator=generator)]
        for first in range(0, settings.batches * settings.batch, settings.batch):
            chosen = slice(first, first + settings.batch)
            batches.append((shuffled[chosen], coupling.pair(shuffled[chosen], start[chosen], None, generator)))
    return Pairs(torch.cat([pair[0] for pair in batches]), torch.cat([pair[1] for pair in batches]))


def chunks(pairs: Pairs, epochs: int, settings: Settings, generator: torch.Generator) -> Iterator[Pairs]:
    """The pairs of so many epochs, a few at a time: first as they come, then in a new order each time round."""
    epoch = settings.batches * settings.batch
    done, order = 0, torch.arange(len(pairs))
    while done < epochs:
        for rows in order[: (epochs - done) * epoch].split(CHECK_EPOCHS * epoch):
            done += len(rows) // epoch
            yield pairs.rows(rows)
        order = torch.randperm(len(pairs), generator=generator)


def fitted(row: Row, pairs: Pairs, held_out: Pairs, column: str, seed: int, settings: Settings) -> LearnedField:
    """The field of a network trained on the pairs, with the weights of its least validation loss.

    Every check sees the same times and noise, so that it is weights that are compared, unless the row is validated
    anew: as in TorchCFM's runner, with new pairs as well.
    """
    torch.manual_seed(_state(_generator(column, seed, _NETWORK)))
    networks: list[nn.Module] = [PlainMLP((2,), width=WIDTH, depth=DEPTH)]
    if row.output == "velocity_and_score":
        networks.append(PlainMLP((2,), width=WIDTH, depth=DEPTH))
    network = networks[0] if len(networks) == 1 else SideBySide(networks)
    problem = Problem(network, row.path(), row.output)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
    generator, luck = _generator(column, seed, _TRAINING), _generator(column, seed, _ANEW)

    def check() -> float:
        if row.validated_anew:
            return problem.loss(problem.draw(validation_pairs(column, seed, row, settings, luck), luck)).item()
        return problem.loss(problem.draw(held_out, _generator(column, seed, _VALIDATION))).item()

    train(
        problem,
        chunks(pairs, settings.epochs, settings, generator),
        settings.batch,
        optimizer,
        generator,
        check,
    )
    return LearnedField(network, problem.path, row.output)


class SideBySide(nn.Module):
    """A network for the velocity and one for the score, seen as one with two outputs."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([network(x, t) for network in self.networks], 1)


@torch.no_grad()
def flow(field: LearnedField, start: Tensor) -> tuple[Tensor, Tensor]:
    """States and times of the solve that is measured."""
    times = UniformGrid()(EULER_STEPS, field.path)
    return Euler().solve(field, field.path.initial(start), times, trajectory=True), times


@torch.no_grad()
def rectified(field: LearnedField, start: Tensor) -> Pairs:
    """Where the same solve leads, with where it began."""
    times = UniformGrid()(EULER_STEPS, field.path)
    ends = [Euler().solve(field, field.path.initial(part), times) for part in start.split(10_000)]
    return Pairs(torch.cat(ends), start)


@cache
def least_energy(column: str, seed: int, n: int) -> float:
    """The squared 2-Wasserstein distance of the test points of source and data."""
    return float(wasserstein2(*points(column, seed, _TEST, n))) ** 2


def validation_pairs(column: str, seed: int, row: Row, settings: Settings, generator: torch.Generator) -> Pairs:
    """Validation points, coupled batch by batch as in training; a row validated anew draws the noise anew too."""
    source, data = points(column, seed, _VALIDATION, settings.points)
    if row.validated_anew and COLUMNS[column].from_noise:
        source = normal(len(data), generator)
    coupling, batch = row.coupling(), settings.batch
    parts = zip(source.split(batch), data.split(batch))
    return Pairs(data, torch.cat([coupling.pair(ends, starts, None, generator) for starts, ends in parts]))


def measure(row: str, column: str, seed: int, settings: Settings) -> Values:
    """2-Wasserstein distance and normalised path energy of a network trained for this cell."""
    if row == FLOOR:
        return floor(column, seed, settings)
    method, settings = method_of(row), settings.for_row(row)
    pairs = matched(column, seed, _first_of_its_coupling(row), settings)
    held_out = validation_pairs(column, seed, method, settings, _generator(column, seed, _VALIDATION))
    field = fitted(method, pairs, held_out, column, seed, settings)
    if method.rectified:
        count = RECTIFIED_EPOCHS * settings.batches * settings.batch
        rows = torch.randperm(len(pairs), generator=_generator(column, seed, _RECTIFY))[:count]
        held_out = points(column, seed, _VALIDATION, settings.points)[0]
        again = [rectified(field, starts) for starts in (pairs.source[rows], held_out)]
        field = fitted(method, again[0], again[1], column, seed, settings)
    start, data = points(column, seed, _TEST, settings.points)
    states, times = flow(field, start)
    energy = normalised_path_energy(states, times, least_energy(column, seed, settings.points))
    return {"w2": float(wasserstein2(states[-1], data)), "npe": float(energy)}


def _first_of_its_coupling(row: str) -> str:
    """One name for all rows with a coupling, so that they share their pairs."""
    return next(name for name, other in ROWS.items() if other.coupling is method_of(row).coupling)


def floor(column: str, seed: int, settings: Settings) -> Values:
    """Test data against validation data: the distance that a perfect model has."""
    real = [points(column, seed, split, settings.points)[1] for split in (_TEST, _VALIDATION)]
    return {"w2": float(wasserstein2(*real))}


# What the paper has ---------------------------------------------------------------------------------------------------


def _row(w2: str, npe: str) -> dict[str, dict[str, Published]]:
    def cells(text: str) -> dict[str, Published]:
        numbers = {}
        for column, cell in zip(COLUMNS, text.split(",")):
            if cell.strip() != "-":
                mean, _, deviation = cell.partition("+-")
                numbers[column] = Published(float(mean), float(deviation) if deviation else None)
        return numbers

    return {"w2": cells(w2), "npe": cells(npe)}


PUBLISHED = {
    "[SF]2M-Exact": _row(
        ".275+-.058, .726+-.137, .124+-.023, .128+-.005", ".016+-.012, .045+-.031, .053+-.038, .034+-.024"
    ),
    "[SF]2M-I": _row(
        ".393+-.054, 1.482+-.151, .185+-.028, .201+-.062", ".160+-.019, 2.577+-.323, .855+-.130, .845+-.106"
    ),
    "OT-CFM": _row(".303+-.043, .601+-.027, .130+-.016, .144+-.028", ".031+-.027, .015+-.010, .083+-.009, .027+-.012"),
    "SB-CFM": _row("2.314+-2.112, -, .434+-.594, .341+-.468", "1.000, -, .995, .745+-.039"),
    "RF": _row(".421+-.071, 1.525+-.330, .283+-.045, .345+-.079", ".044+-.031, .203+-.090, .130+-.078, .099+-.066"),
    "I-CFM": _row(".373+-.103, 1.557+-.407, .178+-.014, .242+-.141", ".202+-.055, 2.680+-.292, .891+-.120, .856+-.031"),
    "FM": _row(".343+-.058, -, .209+-.055, .198+-.037", ".190+-.054, -, .762+-.099, .743+-.116"),
}
# What a variant is held against.
PUBLISHED = {
    name: figures
    for row, figures in PUBLISHED.items()
    for name in (row, *(variant for variant in VARIANTS if variant.startswith(row + ",")))
}
