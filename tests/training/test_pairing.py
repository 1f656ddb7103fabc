"""Pairs matched in a pool and over all processes keep the source's law and the joined batch's gradient (F36)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from fmlab.data import DataModule, Digits, TensorSet, Toy2D
from fmlab.errors import UserError
from fmlab.fields import ScheduleChange
from fmlab.networks import MLP
from fmlab.objectives import ConditionalOT, Coupling, Independent, MinibatchOT, SinkhornOT, StepContext, TimeSampler
from fmlab.objectives.time_samplers import Uniform
from fmlab.paths import Cosine
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers import EulerMaruyama, Heun, UniformGrid
from fmlab.training.generative_module import FlowMatching
from fmlab.training.module import Batch
from fmlab.training.pairing import further_data, paired_source


def draws(*keys: int) -> Callable[[Purpose], torch.Generator]:
    return lambda purpose: keyed_generator(*keys, purpose)


def further(data: Tensor) -> Callable[[int, torch.Generator], Batch]:
    """Further pairs: rows of `data` at random, with normal noise."""

    def more(count: int, generator: torch.Generator) -> Batch:
        rows = torch.randint(len(data), (count,), generator=generator)
        return Batch(data[rows], None, torch.randn(count, *data.shape[1:], generator=generator))

    return more


def matched(coupling: Coupling, data: Tensor, size: int, key: int) -> tuple[Tensor, Tensor]:
    """A batch of the data and the sources that a step matches with it."""
    draw = draws(key)
    batch = Batch(data[torch.randperm(len(data), generator=draw(Purpose.ORDER))[:size]])
    pairs = batch.replace(source=torch.randn(batch.data.shape, generator=draw(Purpose.NOISE)))
    return batch.data, paired_source(coupling, pairs, draw, further(data), across_processes=False)


# In a pool ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["spread", "a point", "two points"])
@pytest.mark.parametrize("coupling", [MinibatchOT(64), SinkhornOT(batch_size=64)], ids=repr)
def test_sources_matched_in_a_pool_follow_the_source_law(coupling: Coupling, law: str) -> None:
    """Square matching of exchangeable pairs: the second and the fourth moment of N(0, 1) are 1 and 3, the mean is 0.

    The 8 best of 64 draws for each batch would have a second moment of about 0.02 where all data lie in one point.
    """
    data = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    data = {"spread": data, "a point": 0.1 + 0 * data, "two points": data.sign()}[law]
    sources = torch.cat([matched(coupling, data, 8, key)[1] for key in range(600)]).double()
    error = len(sources) ** -0.5
    assert abs(sources.mean()) < 4 * error
    assert abs(sources.square().mean() - 1) < 4 * 2**0.5 * error
    assert abs((sources**4).mean() - 3) < 4 * 96**0.5 * error


def test_a_bigger_pool_makes_cheaper_pairs_of_the_same_data() -> None:
    data = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    costs = []
    for size in (None, 32, 256):
        batches = [matched(MinibatchOT(size), data, 8, key) for key in range(40)]
        costs.append(torch.cat([(z - x).square().sum(1) for z, x in batches]).mean().item())
    assert costs[0] > 1.5 * costs[1] > 1.5**2 * costs[2]
    drawn = torch.cat([matched(Independent(), data, 8, key)[1] for key in range(40)])
    own = torch.cat([matched(MinibatchOT(8), data, 8, key)[1] for key in range(40)])
    assert torch.equal(own.sort(0).values, drawn.sort(0).values), "a pool of the batch's size is the batch"


def test_a_pool_smaller_than_the_batch_is_refused() -> None:
    with pytest.raises(UserError, match=r"coupling\.batch_size: 8 pairs are fewer than the 10 .*\n.*at least 10"):
        matched(MinibatchOT(8), torch.randn(20, 1), 10, 0)


class Recording(Coupling):
    """Keeps what it is given."""

    def __init__(self, batch_size: int | None) -> None:
        self.batch_size = batch_size
        self.given: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        self.given.append((data, source, condition))
        return source


class Attached(FlowMatching):
    """A module with a trainer's few facts."""

    step, rank = 0, 0
    datamodule: Any = None

    @property
    def trainer(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(world_size=1, datamodule=self.datamodule, accumulate_grad_batches=1, max_steps=10)

    @property
    def global_step(self) -> int:
        return self.step

    @property
    def global_rank(self) -> int:
        return self.rank

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Nowhere."""


class Half(Digits):
    """Digits whose augmentation halves every pixel."""

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x / 2


def attached(data: DataModule, coupling: Coupling, **arguments: Any) -> Attached:
    network = MLP(data.shape, num_classes=data.num_classes, width=8, depth=1)
    module = Attached(network, coupling=coupling, num_classes=data.num_classes, **arguments)
    module.datamodule = data
    return module


def batch_of(data: DataModule, size: int) -> tuple[Tensor, Tensor]:
    return data.on_after_batch_transfer(data.split("train").__getitems__(torch.arange(size)), 0)


@pytest.mark.parametrize("training", [True, False])
def test_partners_are_prepared_like_the_batch(training: bool) -> None:
    """Scaled, and in training augmented, with labels dropped; drawn from the whole training split."""
    data, coupling = Half(), Recording(600)
    module = attached(data, coupling, label_dropout=0.25)
    (module.training_step if training else module.validation_step)(batch_of(data, 100), 0)
    images, source, labels = coupling.given[0]
    assert images.shape == source.shape == (600, 1, 8, 8)
    training_images, classes = batch_of(data, len(data.split("train")))
    rows = (images[:, None] * (2 if training else 1) - training_images[None]).flatten(2).abs().amax(2).argmin(1)
    torch.testing.assert_close(images * (2 if training else 1), training_images[rows], rtol=0, atol=1e-6)
    assert (rows >= 100).sum() > 400
    assert labels is not None
    null = labels == 10
    assert (labels[~null] == classes[rows][~null]).all()
    assert null.float().mean().item() == pytest.approx(0.25 if training else 0.0, abs=0.06)
    assert source.std().item() == pytest.approx(1, abs=0.02)


def test_partners_without_classes_have_no_condition() -> None:
    data, coupling = Digits(), Recording(30)
    module = Attached(MLP((1, 8, 8), width=8, depth=1), coupling=coupling)
    module.datamodule = data
    for step in (module.training_step, module.validation_step):
        step(batch_of(data, 10), 0)
    assert [given[2] for given in coupling.given] == [None, None]


def test_partners_are_keyed_by_seed_step_and_shard() -> None:
    data = Toy2D(train_size=1000)

    def pool(seed: int = 0, step: int = 0, rank: int = 0) -> Tensor:
        coupling = Recording(200)
        module = attached(data, coupling, seed=seed)
        module.step, module.rank = step, rank
        module.training_step(data.split("train").take(torch.arange(50)), 0)
        points, source, _ = coupling.given[0]
        return torch.cat([points, source], 1).sort(0).values

    assert torch.equal(pool(), pool())
    for other in ({"seed": 1}, {"step": 1}, {"rank": 1}):
        assert not torch.equal(pool(), pool(**other))


class Lazy(Toy2D):
    """Points that are not in memory."""

    def split(self, name: Any) -> Any:
        return SimpleNamespace(labels=None)


def test_data_that_cannot_give_partners_is_told_in_one_line() -> None:
    for data, cause in (
        (None, "the trainer has no training split"),
        (LightningDataModule(), "LightningDataModule has no training split"),
        (Lazy(), "Lazy does not hold its training data in memory"),
    ):
        with pytest.raises(UserError, match=rf"coupling\.batch_size: {cause} to draw 7 further pairs from"):
            further_data(data, 7, keyed_generator(0))
    assert isinstance(Toy2D().split("train"), TensorSet)


@pytest.mark.parametrize(
    ("coupling", "num_classes", "warned"),
    [
        (MinibatchOT(), 2, True),
        (SinkhornOT(), 2, True),
        (MinibatchOT(), None, False),
        (ConditionalOT(), 2, False),
        (Independent(), 2, False),
    ],
    ids=repr,
)
def test_transport_that_ignores_labels_warns_at_the_start(
    coupling: Coupling, num_classes: int | None, warned: bool
) -> None:
    """C2OT's finding: plain transport in a conditional model is worse than none."""
    module = FlowMatching(MLP((2,), num_classes=num_classes), coupling=coupling, num_classes=num_classes)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        module.setup("fit")
        module.setup("validate")
    assert len(seen) == warned
    assert all("model.coupling=ConditionalOT" in str(warning.message) for warning in seen)


# Over processes -------------------------------------------------------------------------------------------------------


class Times(TimeSampler):
    """Uniform times, of which each process takes its share."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def quantile(self, u: Tensor, moment: StepContext) -> Tensor:
        return u

    def sample(self, n: int, generator: torch.Generator, moment: StepContext | None = None) -> Tensor:
        return Uniform().sample(n * self.world, keyed_generator(8)).chunk(self.world)[self.rank]


COUPLINGS = {
    "local": MinibatchOT(),
    "gathered": MinibatchOT(across_ranks=True),
    "gathered into a pool": MinibatchOT(batch_size=96, across_ranks=True),
    "gathered by class": ConditionalOT(across_ranks=True),
    "gathered and drawn": SinkhornOT(across_ranks=True),
}
PAIRS = 24


def step_of(rank: int, world: int, case: str) -> dict[str, Tensor]:
    """The pairs and the gradient of one training step of one process."""
    torch.manual_seed(0)
    network = MLP((2,), num_classes=3, width=16, depth=2).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    data, source = (keyed_normal(key).chunk(world)[rank] for key in (1, 2))
    labels = (torch.arange(PAIRS) % 3).chunk(world)[rank]
    module = Attached(network, coupling=COUPLINGS[case], source="batch", num_classes=3, time_sampler=Times(rank, world))
    module.further_pairs = pool_of  # type: ignore[method-assign]
    seen: list[Tensor] = []
    path_draw = module.path.draw

    def spy(data: Tensor, source: Tensor, *rest: Any) -> Any:
        seen.append(source)
        return path_draw(data, source, *rest)

    module.path.draw = spy  # type: ignore[method-assign]
    losses, _ = module.losses(network, Batch(data, labels, source), draws(rank), StepContext())
    losses.mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    return {"source": seen[0], "gradient": gradient}


def keyed_normal(key: int, count: int = PAIRS) -> Tensor:
    return torch.randn(count, 2, generator=keyed_generator(key), dtype=torch.float64)


def pool_of(count: int, generator: torch.Generator, training: bool) -> Batch:
    assert training
    points = torch.randn(2, count, 2, generator=generator, dtype=torch.float64)
    return Batch(points[0], torch.arange(count) % 3, points[1])


def work(rank: int, file: str, folder: str) -> None:
    torch.set_num_threads(1)  # a forked process must not enter OpenMP's parallel regions
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    results = {}
    for case in COUPLINGS:
        results[case] = step_of(rank, 2, case)
        dist.all_reduce(results[case]["gradient"])
    uneven = Batch(torch.zeros(3 + rank, 2), None, torch.ones(3 + rank, 2))
    paired_source(MinibatchOT(across_ranks=True), uneven, draws(0), pool_of, across_processes=False)  # type: ignore[arg-type]
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_matched_together_are_one_with_the_joined_batch(tmp_path: Path) -> None:
    """F36: the same pairs and the same gradient, gathered or local as configured; `batch_size` counts all pairs."""
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(work, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2, start_method=method)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    for case in COUPLINGS:
        one, source = step_of(0, 1, case), torch.cat([rank[case]["source"] for rank in ranks])
        gathered = case != "local"
        assert torch.equal(source, one["source"]) == gathered, case
        if gathered:
            for rank in ranks:
                torch.testing.assert_close(rank[case]["gradient"] / 2, one["gradient"], rtol=1e-12, atol=1e-12)
    generator = keyed_generator(0)
    halves = [
        MinibatchOT().pair(*half, None, generator) for half in zip(*(keyed_normal(key).chunk(2) for key in (1, 2)))
    ]
    for rank, half in zip(ranks, halves):
        assert torch.equal(rank["local"]["source"], half)
        assert not torch.equal(rank["gathered into a pool"]["source"], rank["gathered"]["source"])


def test_a_dependent_coupling_leaves_no_score() -> None:
    """-E[eps | x] / beta is the score only where noise and data are independent; an SDE would be off without a word."""
    module = FlowMatching(MLP((2,)), coupling=MinibatchOT())
    x = torch.randn(4, 2)
    prediction = module.field()(x, torch.tensor(0.5))
    assert prediction.velocity.shape == prediction.noise.shape == prediction.data.shape == (4, 2)
    with pytest.raises(UserError, match="not independent"):
        _ = prediction.score
    with pytest.raises(UserError, match="not independent"):
        EulerMaruyama().solve(module.field(), x, UniformGrid()(3, module.path))
    moved = ScheduleChange(module.field(), Cosine())
    assert Heun().solve(moved, x, UniformGrid()(3, moved.path)).shape == (4, 2)
    with pytest.raises(UserError, match="not independent"):
        _ = moved(x, torch.tensor(0.5)).score
    assert FlowMatching(MLP((2,))).field()(x, torch.tensor(0.5)).score.shape == (4, 2)
