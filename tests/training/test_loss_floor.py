"""The floor of the loss and the excess over it, against closed forms and sums by hand (fact F10)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmlab.data import Digits, ImageData, Toy2D
from fmlab.distributions import Empirical, Gaussian
from fmlab.errors import UserError
from fmlab.fields import ExactField, run_network
from fmlab.networks import MLP
from fmlab.objectives import Coupling, LogitNormal, Loss, MeansByTime, Space, Weight
from fmlab.paths import CondOT, Cosine, GaussianPath, Interpolant, PathSample, ProbabilityPath
from fmlab.random import Purpose, keyed_generator
from fmlab.training.exact_law import exact_law
from fmlab.training.generative_module import FlowMatching, GenerativeModule, ScoreMatching
from fmlab.training.loss_floor import TERMS, ExcessLoss, LossFloor, loss_terms
from fmlab.training.module import Batch

MEAN, STD = 2.0, 0.5

Draw = tuple[PathSample, Tensor | None]


class Oracle(nn.Module):
    """Predicts what the exact field of N(MEAN, STD^2) says, and `wrong(t)` beside it."""

    def __init__(self, path: GaussianPath, kind: str, wrong: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.path, self.kind, self.wrong = path, kind, wrong

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        exact = getattr(ExactField(normal(x.shape[1]), self.path)(x, t), self.kind)
        return exact if self.wrong is None else exact + self.wrong(t)[:, None]


class TimeSquared(Weight):
    """t^2 in every space."""

    def __call__(self, t: Tensor, path: ProbabilityPath, space: Space) -> Tensor:
        return t**2


def normal(dimension: int) -> Gaussian:
    return Gaussian(torch.full((dimension,), MEAN), STD**2 * torch.eye(dimension))


def draws_of(module: GenerativeModule, points: Tensor, size: int = 1000) -> Iterator[Draw]:
    """What training draws for each of the points once."""
    for index, part in enumerate(points.split(size)):
        yield module.draw_point(Batch(part), lambda p, index=index: keyed_generator(7, index, p)), None


def exact_floor(law: Any, module: GenerativeModule, draws: Iterable[Draw]) -> MeansByTime:
    """The loss of the exact field, by time."""
    means = MeansByTime(["floor"])
    for point, condition in draws:
        exact = ExactField(law, CondOT(), condition).evaluate(point.x, point.t)
        means.add(point.t, module.measure(exact, point).unsqueeze(0))
    return means


def known_floor(first: float, last: float) -> float:
    """The mean of s^2 / (t^2 s^2 + (1 - t)^2) between two times: its integral is s arctan(((1 + s^2) t - 1) / s)."""
    angles = [math.atan(((1 + STD**2) * t - 1) / STD) for t in (first, last)]
    return STD * (angles[1] - angles[0]) / (last - first)


def test_the_floor_of_a_gaussian_is_known() -> None:
    """F10: on the straight path the least loss a dimension is pi s / 2, and its density in t is known too."""
    assert known_floor(0, 1) == pytest.approx(math.pi * STD / 2)
    module = FlowMatching(nn.Identity())
    for dimension in (1, 3):
        points = MEAN + STD * torch.randn(40_000, dimension, generator=torch.Generator().manual_seed(0))
        means = exact_floor(normal(dimension), module, draws_of(module, points))
        for index, mean in enumerate(means.by_bin("floor")):
            assert mean.value == pytest.approx(known_floor(index / 10, (index + 1) / 10), abs=4 * mean.error)
            assert 0 < mean.error < 0.03
        assert means.overall("floor").value == pytest.approx(math.pi * STD / 2, abs=4 * means.overall("floor").error)


def test_the_floor_of_many_points_nears_that_of_their_law() -> None:
    points = MEAN + STD * torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    module = FlowMatching(nn.Identity())
    rows = torch.randint(4000, (6000,), generator=torch.Generator().manual_seed(1))
    mean = exact_floor(Empirical(points), module, draws_of(module, points[rows])).overall("floor")
    assert mean.value == pytest.approx(math.pi * STD / 2, abs=4 * mean.error)
    few = Empirical(points[:5])
    floor = exact_floor(few, module, draws_of(module, points[:5].repeat(800, 1))).overall("floor")
    assert floor.value < 0.8 * mean.value, "a set of five points is known long before t = 1"


@pytest.mark.parametrize("weight", [None, TimeSquared()], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    ("module_class", "kind"), [(FlowMatching, "velocity"), (FlowMatching, "data"), (ScoreMatching, "noise")]
)
def test_the_excess_is_the_distance_from_the_exact_field(
    module_class: type[GenerativeModule], kind: str, weight: Weight | None
) -> None:
    """0 for a perfect network, E w |u_theta - u|^2 for a wrong one; the loss's difference agrees within its error."""
    path = Cosine()
    points = MEAN + STD * torch.randn(6000, 2, generator=torch.Generator().manual_seed(0))
    for wrong in (None, lambda t: 0.3 * (1 - t)):
        network = Oracle(path, kind, wrong)
        module = module_class(network, path=path, prediction=kind, weight=weight, time_sampler=LogitNormal(0.2, 0.8))
        means, expected = MeansByTime(TERMS), MeansByTime(["excess"])
        for point, _ in draws_of(module, points):
            exact = ExactField(normal(2), path)(point.x, point.t)
            prediction = run_network(network, path, kind, point.x, point.t)
            means.add(point.t, loss_terms(prediction, exact, point, module.measure))
            t = point.t
            error = torch.zeros_like(t) if wrong is None else wrong(t)
            # A wrong data prediction by e is a wrong velocity by D e / beta (F4).
            scale = path.wronskian(t) / path.beta(t) if kind == "data" else 1.0
            expected.add(t, ((scale * error) ** 2 * (t**2 if weight else 1))[None])
        for mean, expected_mean in zip(means.by_bin("excess"), expected.by_bin("excess")):
            assert mean.value == pytest.approx(expected_mean.value, rel=1e-3, abs=1e-6)
        difference, excess = means.overall("difference"), means.overall("excess")
        assert difference.value == pytest.approx(excess.value, abs=4 * difference.error + 1e-6)
        assert difference.value == pytest.approx(means.overall("loss").value - means.overall("floor").value, abs=1e-6)


# The callback ---------------------------------------------------------------------------------------------------------


def trainer_of(data: Any, rank: int = 0, world_size: int = 1) -> Any:
    """What the callback needs of a trainer."""
    plugin = SimpleNamespace(forward_context=contextlib.nullcontext)
    return SimpleNamespace(
        datamodule=data, global_rank=rank, world_size=world_size, precision_plugin=plugin, callbacks=[]
    )


def digits_module(**changes: Any) -> FlowMatching:
    torch.manual_seed(0)
    network = MLP((1, 8, 8), num_classes=10, width=16, depth=1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return FlowMatching(network, num_classes=10, **{"label_dropout": 0.4, "seed": 5, **changes})


def measured(module: GenerativeModule, data: Any, rank: int = 0, world_size: int = 1, n: int = 64) -> MeansByTime:
    callback, trainer = LossFloor(num_samples=n, batch_size=20), trainer_of(data, rank, world_size)
    callback.on_fit_start(trainer, module)
    with torch.no_grad():
        return callback.measure(trainer, module)


def test_labels_dropout_and_flips_by_hand() -> None:
    """The exact velocity at each draw, image by image over the images, mirrored too, that the label leaves possible."""
    data, module = Digits(limit=40, flip=True), digits_module()
    images, labels = data.labelled_images("train")
    images = images.flatten(1).double() / 127.5 - 1
    mirrored = images.view(-1, 8, 8).flip(2).flatten(1)
    draws, hand = (
        ExcessLoss(module, data, exact_law(module, data, "floor"), 64, 20),
        MeansByTime(["loss", "floor", "excess"]),
    )
    seen, flipped = [], 0
    for index in range(4):
        point, condition = draws.draw_batch(index)
        assert condition is not None
        seen += condition.tolist()
        output = module.network(point.x, point.t, condition).detach().flatten(1).double()
        for row, (t, label) in enumerate(zip(point.t.double(), condition.tolist())):
            possible = torch.ones(len(labels), dtype=torch.bool) if label == 10 else labels == label
            choices = torch.cat([images[possible], mirrored[possible]])
            x = point.x[row].flatten().double()
            share = torch.stack([-(x - t * z).square().sum() / (2 * (1 - t) ** 2) for z in choices]).softmax(0)
            exact = share @ choices - (x - t * (share @ choices)) / (1 - t)
            target = point.velocity[row].flatten().double()
            z = x + (1 - t) * target
            at = (choices - z).abs().amax(1).argmin()
            assert (choices[at] - z).abs().max() < 1e-5, "the draw is an image of the class, or its mirror image"
            flipped += int(at >= possible.sum())
            terms = [(output[row] - target), (exact - target), (output[row] - exact)]
            hand.add(t[None].float(), torch.stack([term.square().mean() for term in terms])[:, None])
    measurement = measured(module, data)
    for name in ("loss", "floor", "excess"):
        for mean, by_hand in zip(measurement.by_bin(name), hand.by_bin(name)):
            assert mean.draws == by_hand.draws
            if mean.draws:
                assert mean.value == pytest.approx(by_hand.value, rel=1e-4, abs=1e-6)
    assert 10 < seen.count(10) < 42
    assert 16 < flipped < 48


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_shares_of_processes_add_up_to_one(world_size: int) -> None:
    """Also where a process has nothing to do: there are four batches."""
    data, module = Digits(limit=40), digits_module()
    alone = measured(module, data)
    shares = [measured(module, data, rank, world_size) for rank in range(world_size)]
    together = MeansByTime(TERMS)
    together.totals = torch.stack([share.totals for share in shares]).sum(0)
    torch.testing.assert_close(together.totals, alone.totals)
    assert together.overall("floor").draws == 64


class Perfect(nn.Module):
    """A network that says what the exact field says."""

    def __init__(self, law: Empirical) -> None:
        super().__init__()
        self.law = law

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return ExactField(self.law, CondOT(), condition)(x, t).velocity


def test_the_exact_side_is_kept_and_the_averaged_network_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Toy2D("moons", train_size=200, validation_size=10, labelled=True)
    module = FlowMatching(MLP((2,), num_classes=2, width=16, depth=1), num_classes=2)
    module.averaged["0.9"] = Perfect(exact_law(module, data, "floor"))
    callback, trainer = LossFloor(num_samples=50, batch_size=16), trainer_of(data)
    callback.on_fit_start(trainer, module)
    with torch.no_grad():
        perfect = callback.measure(trainer, module)
        module.averaged.clear()
        monkeypatch.setattr(Empirical, "posterior", None)
        callback.on_validation_start(trainer, module)
        trained = callback.measure(trainer, module)
    assert perfect.overall("excess").value == pytest.approx(0, abs=1e-9)
    assert perfect.overall("floor").value == perfect.overall("loss").value > 0.1
    assert trained.overall("floor") == perfect.overall("floor")
    assert trained.overall("excess").value > 0.1


class Shuffled(Coupling):
    """Another pairing."""

    def pair(self, data: Tensor, source: Tensor, condition: Tensor | None, generator: torch.Generator) -> Tensor:
        return source.flip(0)


class Absolute(Loss):
    """Another loss."""

    def __call__(self, error: Tensor) -> Tensor:
        return error.abs().flatten(1).mean(1)


class Blurred(Digits):
    """Another augmentation."""

    def augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x / 2


class Elsewhere(Digits):
    """Not in memory."""

    def split(self, name: Any) -> Any:
        return SimpleNamespace(labels=None)


@pytest.mark.parametrize(
    ("module", "data", "what"),
    [
        ({"coupling": Shuffled()}, Digits(), "coupling is Shuffled"),
        ({"loss": Absolute()}, Digits(), "loss is Absolute"),
        ({"source": Gaussian([0.0], [[1.0]])}, Digits(), "source is not Gaussian noise"),
        ({"path": Interpolant()}, Digits(), "Interpolant is no Gaussian path"),
        ({}, Blurred(), "Blurred augments"),
        ({}, Elsewhere(), "Elsewhere are not in memory"),
        ({}, SimpleNamespace(shape=(2,)), "not in memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_known_is_told_before_training_and_left_out(
    module: dict[str, Any], data: Any, what: str
) -> None:
    callback, trained = LossFloor(), digits_module(**module)
    with pytest.warns(UserWarning, match=f"floor: not measured, .*{what}"):
        callback.on_fit_start(trainer_of(data), trained)
    callback.on_validation_start(trainer_of(data), trained)
    callback.on_validation_epoch_end(trainer_of(data), trained)  # measures nothing, needs nothing


def test_arguments_out_of_range_are_refused() -> None:
    for arguments, key in (({"num_samples": 1}, "floor.num_samples"), ({"batch_size": 0}, "floor.batch_size")):
        with pytest.raises(UserError) as caught:
            LossFloor(**arguments)
        assert caught.value.key == key


def test_the_law_is_the_training_split_and_no_more() -> None:
    module = digits_module()
    law = exact_law(module, Digits(limit=50, flip=True), "floor")
    assert len(law) == 100
    assert law.num_classes == 10
    images = ImageData.labelled_images(Digits(limit=50), "train")[0]
    assert law.points.mean().item() == pytest.approx((images.double() / 127.5 - 1).mean().item(), abs=1e-6)
    assert exact_law(FlowMatching(nn.Identity()), Digits(limit=50), "floor").num_classes is None
    assert not exact_law(module, Digits(limit=50), "floor").mirrored


def test_draws_are_rows_drawn_with_replacement() -> None:
    """All rows alike, none of them tied to a batch; keyed by the batch, not by an optimizer step."""
    data, module = Toy2D("8gaussians", train_size=10, validation_size=1), FlowMatching(nn.Identity(), seed=3)
    draws = ExcessLoss(module, data, exact_law(module, data, "floor"), 4000, 512)
    assert len(draws.mine) == 8
    points = [draws.draw_batch(index)[0] for index in range(8)]
    assert [len(point.x) for point in points] == [512] * 7 + [416]
    z = torch.cat([point.x + (1 - point.t[:, None]) * point.velocity for point in points])
    counts = torch.cdist(z, data.split("train").x).argmin(1).bincount(minlength=10)
    assert (counts - 400).abs().max() < 4 * math.sqrt(400)
    for step in range(20):
        noise = torch.randn(416, 2, generator=keyed_generator(3, step, 7, Purpose.NOISE))
        assert not torch.equal(points[7].noise, noise)
    assert torch.equal(draws.draw_batch(7)[0].x, points[7].x)
