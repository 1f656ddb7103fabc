"""What stands at t = 0: distributions, data sets and what the batch brings; and the two-headed network on bridges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmlab.data import Digits, SuperResolution, Toy2D
from fmlab.distributions import Circles, Gaussian, three_gaussians
from fmlab.errors import UserError
from fmlab.fields import LearnedField
from fmlab.networks import MLP
from fmlab.paths import CondOT, Cosine, Interpolant, SchrodingerBridge
from fmlab.random import Purpose, keyed_generator
from fmlab.solvers import EulerMaruyama, Heun, UniformGrid
from fmlab.training.generative_module import FlowMatching, ScoreMatching
from fmlab.training.module import Batch, unpack
from fmlab.training.sources import BatchSource, DataSource, DistributionSource, NoiseSource, make_source


def draw(purpose: Purpose) -> torch.Generator:
    return keyed_generator(0, purpose)


def test_a_source_of_its_own_makes_an_interpolant() -> None:
    module = FlowMatching(MLP((2,)), path=Cosine(), source=Circles())
    assert isinstance(module.path, Interpolant)
    assert isinstance(module.path.schedule, Cosine)
    assert module.path.sigma == 0
    assert isinstance(FlowMatching(MLP((2,)), path=Cosine()).path, Cosine)
    bridge = SchrodingerBridge(0.5)
    assert FlowMatching(MLP((2,)), path=bridge, source=Circles()).path is bridge


def test_every_choice_of_a_source_is_understood() -> None:
    assert isinstance(make_source(None), NoiseSource)
    assert isinstance(make_source(Circles()), DistributionSource)
    assert isinstance(make_source(Toy2D("circles")), DataSource)
    assert isinstance(make_source("batch"), BatchSource)


@pytest.mark.parametrize("choice", [None, three_gaussians(), Toy2D("8gaussians", train_size=50, validation_size=40)])
def test_one_seed_starts_one_sample(choice) -> None:
    source = make_source(choice)
    together = source.start([5, 6, 7, 8], (2,), "cpu")
    assert together.shape == (4, 2)
    assert together.dtype == torch.float32
    assert torch.equal(source.start([7], (2,), "cpu")[0], together[2])
    assert len({row.sum().item() for row in source.start(range(20), (2,), "cpu")}) > 10


def test_a_data_source_trains_on_its_training_split_and_starts_from_the_other() -> None:
    data = Toy2D("moons", train_size=30, validation_size=20)
    source = DataSource(data)
    drawn = source.draw(torch.zeros(200, 2), None, draw(Purpose.NOISE))
    started = source.start(range(100), (2,), "cpu")
    train, held_out = (torch.cat(list(Toy2D.reference_batches(split, 100))) for split in (data, _validating(data)))
    assert (torch.cdist(drawn, train).min(1).values < 2e-3).all()  # cdist rounds
    assert (torch.cdist(started, held_out).min(1).values < 2e-3).all()


def _validating(data: Toy2D) -> Toy2D:
    other = Toy2D(data.name, train_size=data.train_size, validation_size=data.validation_size)
    other.reference = "validation"
    return other


def test_a_source_of_another_shape_is_refused() -> None:
    module = FlowMatching(MLP((3,)), source=Circles())
    with pytest.raises(UserError, match=r"\(2,\), the data \(3,\)"):
        module.losses(module.network, Batch(torch.zeros(4, 3)), draw)
    with pytest.raises(UserError, match=r"\(2,\), the data \(3,\)"):
        module.source.start([0], (3,), "cpu")


class Straight(nn.Module):
    """The marginal velocity between N(0, 1) and N(mean, 1) drawn independently, on straight lines."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        t = t[:, None]
        return self.mean + (t - (1 - t)) / (t**2 + (1 - t) ** 2) * (x - t * self.mean)


def test_a_distribution_as_source_is_the_gaussian_case_in_another_guise() -> None:
    """With source N(0, I) the loss floor is F10's: here E Var = pi / 2 a dimension for unit variance data."""
    law = Gaussian(torch.zeros(1), torch.eye(1))
    module = FlowMatching(Straight(1.5), source=law)
    data = 1.5 + torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0))
    losses, _ = module.losses(module.network, Batch(data), draw)
    assert losses.mean().item() == pytest.approx(torch.pi / 2, rel=0.02)
    field = module.field()
    end = Heun().solve(field, module.source.start(range(3000), (1,), "cpu"), UniformGrid()(40, field.path))
    assert end.mean().item() == pytest.approx(1.5, abs=0.06)
    assert end.std().item() == pytest.approx(1.0, abs=0.05)


class Bridge(nn.Module):
    """Velocity and score of the straight bridge between independent N(0, 1) and N(mean, 1)."""

    def __init__(self, mean: float, sigma: float) -> None:
        super().__init__()
        self.mean, self.sigma = mean, sigma

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        t = t[:, None].double()
        variance = t**2 + (1 - t) ** 2 + self.sigma**2 * t * (1 - t)
        half_variance_dot = t - (1 - t) + self.sigma**2 * (1 - 2 * t) / 2
        centred = x - t * self.mean
        return torch.stack([self.mean + half_variance_dot / variance * centred, -centred / variance], 1)


def test_the_two_heads_learn_velocity_and_score_of_a_bridge() -> None:
    """The exact heads beat any others: the loss is least there, and its excess is the squared distance to them."""
    module = FlowMatching(Bridge(1.0, 0.8), path=Interpolant(sigma=0.8), prediction="velocity_and_score")
    data = 1 + torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    exact, t = module.losses(module.network, Batch(data), draw)
    assert t.min() >= 0.001
    assert t.max() <= 0.999

    class Off(Bridge):
        def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
            velocity, score = super().forward(x, t).unbind(1)
            scale = 0.8 * torch.sqrt(t * (1 - t))[:, None]
            centred = x - t[:, None] * self.mean
            return torch.stack([velocity + 0.9 * t[:, None] * centred, score + 0.2 * centred / scale], 1)

    off, _ = module.losses(Off(1.0, 0.8), Batch(data), draw)
    # The centred point c has variance V(t) = t^2 + (1 - t)^2 + 0.64 t (1 - t); the integrals are of t^2 V and of V.
    expected = 0.9**2 * (1 / 3 - 1.36 / 4 + 1.36 / 5) + 0.2**2 * (2 / 3 + 0.64 / 6)
    assert (off - exact).mean().item() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("diffusion", [0.0, 0.5, 1.0])
def test_a_bridge_is_sampled_by_its_sde(diffusion: float) -> None:
    """F15 without a Gaussian path: the score head lets any diffusion keep the marginals."""
    path = Interpolant(sigma=0.8)
    field = LearnedField(Bridge(1.0, 0.8), path, "velocity_and_score")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=generator, dtype=torch.float64)
    end = EulerMaruyama(diffusion).solve(
        field,
        x,
        UniformGrid()(150, path),
        noise=lambda step, like: torch.randn(like.shape, generator=generator).double(),
    )
    assert end.mean().item() == pytest.approx(1, abs=0.03)
    assert end.std().item() == pytest.approx(1, abs=0.03)


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(UserError, match="no score to learn"):
        FlowMatching(MLP((2,)), source=Circles(), prediction="velocity_and_score")
    with pytest.raises(UserError, match="no conversion from noise"):
        FlowMatching(MLP((2,)), source=Circles(), prediction="noise")
    with pytest.raises(UserError, match="teaches no velocity"):
        ScoreMatching(MLP((2,)), source=Circles())
    with pytest.raises(UserError, match="teaches no velocity"):
        ScoreMatching(MLP((2,)), prediction="velocity_and_score")
    module = FlowMatching(MLP((2,)), path=Interpolant(sigma=1.0), prediction="velocity_and_score")
    with pytest.raises(UserError, match=r"outputs is 2"):
        module.losses(module.network, Batch(torch.zeros(4, 2)), draw)
    module = FlowMatching(MLP((2,)), source="batch")
    with pytest.raises(UserError, match="brings no source"):
        module.losses(module.network, Batch(torch.zeros(4, 2)), draw)
    with pytest.raises(UserError, match="score is not known"):
        _ = LearnedField(lambda x, t: x, Interpolant())(torch.zeros(2, 2), torch.tensor(0.5)).score


def test_two_heads_work_on_a_gaussian_path_too() -> None:
    """There the heads are trained side by side and the velocity still converts to the data."""
    network = MLP((2,), width=16, depth=1, outputs=2)
    module = FlowMatching(network, path=CondOT(), prediction="velocity_and_score")
    losses, _ = module.losses(network, Batch(torch.randn(64, 2)), draw)
    losses.mean().backward()
    assert network.last.weight.grad is not None
    assert (network.last.weight.grad.view(2, 2, -1).abs().sum((1, 2)) > 0).all(), "both heads must learn"
    prediction = module.field()(torch.randn(5, 2), torch.tensor(0.5))
    assert prediction.data.shape == prediction.score.shape == (5, 2)


def test_a_pair_is_an_image_and_its_low_resolution() -> None:
    pairs = SuperResolution(Digits(), factor=4, global_batch_size=8)
    batch = pairs.on_after_batch_transfer(next(iter(pairs.train_dataloader())), 0)
    data, source = batch["data"], batch["source"]
    assert data.shape == source.shape == (8, 1, 8, 8)
    # Bilinear enlarging of 2 x 2 averages keeps the corners: each is the mean over its quarter of the image.
    torch.testing.assert_close(source[:, :, 0, 0], data[:, :, :4, :4].mean((2, 3)))
    torch.testing.assert_close(source[:, :, -1, -1], data[:, :, 4:, 4:].mean((2, 3)))
    assert unpack(batch).source is source
    truth, start = pairs.pairs([3, 363])
    assert torch.equal(truth[0], truth[1]), "seeds go round the 360 validation images"
    assert torch.equal(start, pairs.sources([3, 363]))
    assert pairs.num_classes is None
    with pytest.raises(UserError, match="smaller by a whole factor"):
        SuperResolution(Digits(), factor=3)
    with pytest.raises(UserError, match="flip"):
        SuperResolution(Digits(flip=True))


def test_a_batch_of_unknown_keys_is_refused() -> None:
    with pytest.raises(UserError, match="image"):
        unpack({"image": torch.zeros(1)})
