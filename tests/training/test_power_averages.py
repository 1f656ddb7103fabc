"""Power-function averages against their weights written out, and the reconstruction of others (fact F31)."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fmlab.errors import UserError
from fmlab.training.power_averages import PowerAverages, Profile, coefficients, exponent, inner_products, reconstruct

STEPS, EVERY = 600, 20


def trajectory() -> torch.Tensor:
    """A parameter's noisy way to rest, of shape (STEPS,)."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(1, STEPS + 1) / STEPS
    return torch.cos(5 * time) * torch.exp(-2 * time) + 0.1 * torch.randn(STEPS, generator=generator)


def train(folder: Path, values: torch.Tensor, stds: tuple[float, ...] = (0.05, 0.10), dtype: str = "float32"):
    """The averages of a network whose two parameters follow the values and their negatives, with snapshots."""
    network = nn.Linear(1, 1)
    callback = PowerAverages(stds, dtype=dtype)
    callback.prepare(network)
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            network.weight.fill_(value)
            network.bias.fill_(-value)
        callback.update()
        if step % EVERY == 0:
            callback.write_snapshot(folder)
    return callback


def written_out(values: torch.Tensor, std: float) -> float:
    """The average as one sum, with the integral of gamma's density over each step as its weight."""
    edges = (torch.arange(len(values) + 1, dtype=torch.float64) / len(values)) ** (exponent(std) + 1)
    return float((edges.diff() * values.double()).sum())


@pytest.mark.parametrize(("std", "gamma"), [(0.05, 16.9722), (0.10, 6.9372), (12**-0.5, 0.0)])
def test_the_exponent_of_a_width(std: float, gamma: float) -> None:
    """F31; gamma = 0 is the plain mean, whose width is that of the uniform law."""
    assert exponent(std) == pytest.approx(gamma, abs=5e-5)


@pytest.mark.parametrize("std", [0.03, 0.1, 0.25])
def test_the_width_is_the_standard_deviation_of_the_density(std: float) -> None:
    middle = (np.arange(100_000) + 0.5) / 100_000
    density = middle ** exponent(std)
    mean = np.average(middle, weights=density)
    assert np.average((middle - mean) ** 2, weights=density) ** 0.5 == pytest.approx(std, rel=1e-5)


def test_the_recursion_is_the_weighted_sum(tmp_path: Path) -> None:
    values = trajectory()
    averages = train(tmp_path, values).averages
    for std in (0.05, 0.10):
        assert averages[str(std)]["weight"].item() == pytest.approx(written_out(values, std), abs=1e-5)
        assert averages[str(std)]["bias"].item() == pytest.approx(-written_out(values, std), abs=1e-5)


def test_the_first_update_forgets_the_start(tmp_path: Path) -> None:
    averages = train(tmp_path, torch.tensor([2.5])).averages
    assert averages["0.05"]["weight"].item() == averages["0.1"]["weight"].item() == 2.5


def test_inner_products_are_integrals() -> None:
    profiles = [Profile(300, 0.05), Profile(300, 0.2), Profile(700, 0.1)]
    time = (np.arange(700_000) + 0.5) / 1000
    gammas = [exponent(one.std) for one in profiles]
    densities = [
        np.where(time < one.step, (gamma + 1) * (time / one.step) ** gamma / one.step, 0.0)
        for one, gamma in zip(profiles, gammas)
    ]
    expected = [[(a * b).sum() / 1000 for b in densities] for a in densities]
    assert inner_products(profiles, profiles) == pytest.approx(np.array(expected), rel=1e-4)


@pytest.mark.parametrize("std", [0.05, 0.10])
def test_a_kept_profile_is_reconstructed_exactly(tmp_path: Path, std: float) -> None:
    profiles = [Profile(step, own) for step in range(EVERY, STEPS + 1, EVERY) for own in (0.05, 0.10)]
    expected = [float(one == Profile(STEPS, std)) for one in profiles]
    assert coefficients(profiles, Profile(STEPS, std)) == pytest.approx(expected, abs=1e-10)
    callback = train(tmp_path, trajectory())
    weights = reconstruct(tmp_path, callback.state_dict(), std)
    assert torch.allclose(weights["weight"], callback.averages[str(std)]["weight"], atol=1e-8, rtol=0)


@pytest.mark.parametrize("std", [0.03, 0.07, 0.15, 0.2])
def test_another_profile_is_close_to_the_one_tracked(tmp_path: Path, std: float) -> None:
    """Within a tenth of what separates it from the nearest kept profile."""
    values = trajectory()
    callback = train(tmp_path, values)
    weights = reconstruct(tmp_path, callback.state_dict(), std)
    tracked = written_out(values, std)
    apart = min(abs(tracked - written_out(values, own)) for own in (0.05, 0.10))
    assert abs(weights["weight"].item() - tracked) < 0.1 * apart
    assert weights["bias"].item() == pytest.approx(-weights["weight"].item(), abs=1e-6)


def test_an_earlier_checkpoint_uses_nothing_later(tmp_path: Path) -> None:
    """The average at a checkpoint's step comes from its own averages and the snapshots before it."""
    values = trajectory()
    state = train(tmp_path, values[:310]).state_dict()
    early = reconstruct(tmp_path, state, 0.15)
    state = {"step": 310, "averages": {std: dict(one) for std, one in state["averages"].items()}}
    train(tmp_path, values)
    # What is later would get a weight of 0 to rounding, so that a file which cannot be read has to tell.
    (tmp_path / f"step_{STEPS:08d}.safetensors").write_bytes(b"cut")
    assert torch.equal(reconstruct(tmp_path, state, 0.15)["weight"], early["weight"])
    assert early["weight"].item() == pytest.approx(written_out(values[:310], 0.15), abs=2e-3)


def test_half_precision_snapshots_round_to_three_digits(tmp_path: Path) -> None:
    values = 3 + trajectory()
    state = train(tmp_path, values, dtype="float16").state_dict()
    assert state["averages"]["0.05"]["weight"].dtype == torch.float32
    weight = reconstruct(tmp_path, state, 0.15)["weight"]
    assert weight.dtype == torch.float32
    assert weight.item() == pytest.approx(written_out(values, 0.15), rel=2e-3)


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    state = train(tmp_path, trajectory()).state_dict()
    for std in (0.0, 0.3):
        with pytest.raises(UserError, match="a width lies in"):
            reconstruct(tmp_path, state, std)
    with pytest.raises(UserError, match=r"miss \d+% of the width 0.005"):
        reconstruct(tmp_path, state, 0.005)
    snapshot = tmp_path / "step_00000300.safetensors"
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="is damaged") as caught:
        reconstruct(tmp_path, state, 0.15)
    assert caught.value.key == str(snapshot)
    snapshot.write_bytes(whole[:-5])
    with pytest.raises(UserError, match="cannot be read") as caught:
        reconstruct(tmp_path, state, 0.15)
    assert caught.value.key == str(snapshot)
    assert caught.value.hint is None


def test_widths_cannot_change_in_the_middle(tmp_path: Path) -> None:
    state = train(tmp_path, trajectory()[:5]).state_dict()
    with pytest.raises(UserError, match=r"0\.05, 0\.1, not 0\.05"):
        PowerAverages((0.05,)).load_state_dict(state)
    with pytest.raises(UserError, match="must differ"):
        PowerAverages((0.05, 0.05))


def test_snapshots_are_spread_over_the_run() -> None:
    for count, total in ((20, 1500), (3, 8), (7, 7), (50, 10)):
        steps = [step for step in range(1, total + 1) if PowerAverages(snapshots=count).is_due(step, total)]
        assert len(steps) == min(count, total)
        assert steps[-1] == total
        gaps = {after - before for before, after in itertools.pairwise([0, *steps])}
        assert max(gaps) - min(gaps) <= 1


def test_a_resumed_run_drops_what_comes_again(tmp_path: Path) -> None:
    """Snapshots after the checkpoint's step go, those up to it stay; a run begun without averages is refused."""
    module = SimpleNamespace(network=nn.Linear(1, 1))
    trainer = SimpleNamespace(global_step=40, is_global_zero=True, default_root_dir=str(tmp_path))
    folder = tmp_path / "power_ema"
    folder.mkdir()
    state = train(folder, trajectory()[:40]).state_dict()
    train(folder, trajectory()[:100])
    callback = PowerAverages()
    with pytest.raises(UserError, match="begin with the run, which is at step 40"):
        callback.on_train_start(trainer, module)
    callback.load_state_dict(state)
    callback.on_train_start(trainer, module)
    assert sorted(file.name for file in folder.iterdir()) == ["step_00000020.safetensors", "step_00000040.safetensors"]
    trainer.global_step = 0
    callback.on_train_start(trainer, module)
    assert callback.step == 0, "another run begins anew"


@pytest.mark.parametrize("std", [0.04, 0.05, 0.07, 0.12])
def test_an_average_of_equal_weights_is_those_weights(std: float) -> None:
    """The nearest combination of few averages has weights whose sum is not 1, and shrank what it averaged."""
    profiles = [Profile(step, saved) for step in (250, 500, 750, 1000) for saved in (0.05, 0.1)]
    assert sum(coefficients(profiles, Profile(1000, std))) == pytest.approx(1, abs=1e-12)
