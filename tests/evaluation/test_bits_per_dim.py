"""Bits per dimension against closed forms, and as an evaluation of a run (fact F23)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import fmlab
from fmlab.__main__ import main
from fmlab.data import GreyLevels
from fmlab.distributions import Gaussian
from fmlab.errors import UserError
from fmlab.evaluation import Cell, Evaluation, Request
from fmlab.evaluation.likelihood import held_out_rows, image_bits, seeded_uniform
from fmlab.fields import ExactField, Sampling
from fmlab.metrics.bits_per_dimension import BitsPerDimension
from fmlab.metrics.parts import Repeats
from fmlab.paths import CondOT, Cosine, Interpolant
from fmlab.random import Purpose
from fmlab.records import RunLayout
from fmlab.solvers import RK4, Euler, EulerMaruyama, Heun, UniformGrid

LEVELS = GreyLevels(range(0, 256, 5))
EXACT = Sampling(RK4(), 24, UniformGrid())


def images(n: int = 4, *shape: int) -> Tensor:
    """uint8 with the levels of `LEVELS`."""
    drawn = torch.randint(52, (n, *(shape or (1, 2, 2))), generator=torch.Generator().manual_seed(0))
    return (5 * drawn).to(torch.uint8)


def of_noise(std: float = 0.5, entries: int = 4) -> ExactField:
    """The flow from noise to N(0, std^2)."""
    return ExactField(Gaussian(torch.zeros(entries), std**2 * torch.eye(entries)), CondOT())


def test_bits_are_those_of_the_density_at_the_dequantised_images() -> None:
    """By the exact field of a Gaussian, whose diagonal Jacobian leaves a probe no variance."""
    field, u, repeats = of_noise(), images(), Repeats(2, 2)
    bits = image_bits(EXACT, field, u, [7, 8, 9, 10], LEVELS, repeats)
    assert bits.shape == (4, 2, 2)
    assert bits[..., 0] == pytest.approx(bits[..., 1], abs=1e-5)
    for draw in range(2):
        x = LEVELS.dequantised(u, seeded_uniform([7, 8, 9, 10], (1, 2, 2), draw)).flatten(1).double()
        log_density = -0.5 * ((x / 0.5).square().sum(1) + 4 * math.log(2 * math.pi * 0.25))
        width = math.log2(127.5 / 5)  # every cell is as wide as five of the 256
        assert bits[:, draw, 0] == pytest.approx(-log_density / math.log(2) / 4 + width, abs=1e-4)
    assert field.nfe == 4 * 4 * 24


class Still:
    """A velocity of 0: what is generated is the noise itself."""

    def __init__(self) -> None:
        self.path, self.nfe = CondOT(), 0

    def __call__(self, x: Tensor, t: Tensor):
        self.nfe += 1
        return replace(of_noise()(x, t), expected_data=0 * x, expected_noise=0 * x)


def test_the_mean_over_dequantisations_bounds_the_images_own_bits() -> None:
    """-log2 of the probability of an image's cell under noise, from the normal distribution's own integral."""
    u = images(3)
    field: object = Still()
    bits = image_bits(Sampling(Euler(), 1, UniformGrid()), field, u, range(3), LEVELS, Repeats(400, 1))  # type: ignore[arg-type]
    low, high = (LEVELS.dequantised(u, torch.full(u.shape, edge)).double() for edge in (0.0, 1.0))
    probability = torch.special.ndtr(high) - torch.special.ndtr(low)
    own = -probability.log2().flatten(1).mean(1)
    excess = bits.mean((1, 2)) - own
    assert excess.abs().max() < 0.002
    assert bits.std(1).max() < 0.1, "narrow cells: the bound is nearly tight"


def test_an_image_s_bits_do_not_depend_on_its_batch() -> None:
    field, u, repeats = of_noise(), images(3), Repeats(1, 2)
    together = image_bits(EXACT, field, u, [4, 5, 6], LEVELS, repeats)
    alone = torch.cat([image_bits(EXACT, field, u[i : i + 1], [4 + i], LEVELS, repeats) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not torch.equal(seeded_uniform([4], (2,), 0), seeded_uniform([4], (2,), 1))
    assert not torch.equal(seeded_uniform([4], (2,), 0), seeded_uniform([5], (2,), 0))
    assert Purpose.PROBE != Purpose.DEQUANTISATION


def test_bits_along_another_path_are_those_of_its_end() -> None:
    """A path that keeps noise at its end, the field's own having none: N(0, 0.25 + 0.09)."""
    u = images(2)
    along = Sampling(RK4(), 24, UniformGrid(), Cosine(sigma_min=0.3))
    bits = image_bits(along, of_noise(), u, [0, 1], LEVELS, Repeats(1, 1)).flatten()
    x = LEVELS.dequantised(u, seeded_uniform([0, 1], (1, 2, 2), 0)).flatten(1).double()
    log_density = -0.5 * (x.square().sum(1) / 0.34 + 4 * math.log(2 * math.pi * 0.34))
    assert bits == pytest.approx(-log_density / math.log(2) / 4 + math.log2(127.5 / 5), abs=1e-3)
    field = of_noise()
    field.path = Interpolant()
    with pytest.raises(UserError, match="start from Gaussian noise, here is Interpolant"):
        image_bits(EXACT, field, u, [0, 1], LEVELS, Repeats())


def test_spreads_tell_probes_dequantisations_and_images_apart() -> None:
    """Of numbers with three known spreads, fed in two batches."""
    metric = BitsPerDimension(Repeats(40, 50))
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    bits = 3 + 0.5 * normal(100, 1, 1) + 0.1 * normal(1, 40, 1) + 0.02 * normal(1, 40, 50)
    for part in bits.split(64):
        metric.update(part)
    values = metric.compute()
    assert values["bpd"] == pytest.approx(bits.mean().item(), abs=1e-12)
    assert values["bpd_std"] == pytest.approx(0.02, rel=0.1)
    assert values["bpd_dequantisation_std"] == pytest.approx(0.1, rel=0.3)
    assert values["bpd_images_std"] == pytest.approx(bits.mean((1, 2)).std().item() / 10, rel=1e-6)
    single = BitsPerDimension(Repeats(1, 1))
    single.update(bits[:1, :1, :1])
    assert set(single.compute()) == {"bpd"}
    with pytest.raises(UserError, match="0 probes"):
        Repeats(1, 0)


def test_a_run_is_measured_on_its_held_out_images(run: RunLayout) -> None:
    """Conditional and unconditional, with what was measured beside it; the batch size makes no difference."""
    trained = fmlab.load(run.root, "last")
    cells = [Cell(Heun(), 2, UniformGrid(), guidance=scale) for scale in (0.0, 1.0)]
    split = trained.data().split("validation")
    assert Evaluation(trained, Request(cells, ["bpd"])).draws.count == len(split) == 360
    request = Request(cells, ["bpd"], 6, repeats=Repeats(1, 2), batch_size=4)
    evaluation = Evaluation(trained, request, save_seconds=0)
    assert evaluation.draws.labels is not None
    assert evaluation.draws.labels.tolist() == split.labels[held_out_rows(len(split), 6)].tolist()
    without, conditional = evaluation.run()
    assert without.values["bpd"] != conditional.values["bpd"]
    assert conditional.values["bpd_std"] > 0
    assert conditional.measurement["samples"] == 6
    assert conditional.measurement["reference"] == {
        "data": "Digits",
        "split": "validation",
        "size": 360,
        "hash": split.content_hash,
    }
    assert "1 dequantisations an image, 2 probes" in conditional.measurement["estimators"]["bpd"]
    assert "17 grey levels" in conditional.measurement["uint8"]
    assert conditional.setting["labels"] == "true, of the validation split"
    assert conditional.setting["nfe"] == 3, "forwards of one solve"
    other = Evaluation(trained, replace(request, cells=cells[1:], name="again", batch_size=6))
    (again,) = other.run()
    assert again.values["bpd"] == pytest.approx(conditional.values["bpd"], rel=1e-5)
    assert not other.run()[0].seconds > again.seconds, "known already"


def test_what_has_no_bits_is_refused(run: RunLayout, toy: RunLayout) -> None:
    trained = fmlab.load(run.root, "last")
    request = Request([Cell(Heun(), 2, UniformGrid())], ["bpd"], 2, repeats=Repeats(1, 1))
    for wrong, message in (
        ({"cells": [Cell(Heun(), 2, UniformGrid(), exact=True)]}, "has no density"),
        ({"cells": [Cell(EulerMaruyama(), 2, UniformGrid())]}, "adds noise"),
        ({"keep": run.root / "kept.npz"}, "could be kept"),
        ({"labels": [1]}, "the images' own labels"),
        ({"metrics": ["bpd", "neighbours"]}, "measure it by itself"),
    ):
        with pytest.raises(UserError, match=message):
            Evaluation(trained, replace(request, **wrong)).run()
    points = fmlab.load(toy.root, "last")
    with pytest.raises(UserError, match="bpd compares images"):
        Evaluation(points, request)


def test_the_command_measures_bits(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """Both guidance scales as rows of one table, which says what was measured; mistakes in one line."""
    argv = [
        "evaluate",
        str(run.root),
        "--checkpoint",
        "last",
        "--device",
        "cpu",
        "--metrics",
        "bpd",
        "--num_samples",
        "3",
    ]
    grid = ["--steps", "2", "--guidance.scale", "0,1", "--probes", "2", "--dequantisations", "1", "--out", "bits"]
    assert main([*argv, *grid]) == 0
    output = capsys.readouterr().out
    assert "3 images against Digits validation (360 images" in output
    assert "uniform dequantisation in the cells of 17 grey levels" in output
    assert "real against real" not in output
    assert output.count("**") == 2, "in the heading: no row is the best, for coarse solves miss bits"
    rows = (run.root / "evaluations" / "bits" / "results.csv").read_text().splitlines()
    assert len(rows) == 3
    assert "bpd_images_std" in rows[0]
    for wrong, message in (
        (["--metrics", "bpd,fid", "--num_samples", "20"], "measure it by itself"),
        (["--labels", "1"], "the images' own labels"),
        (["--probes", "0"], "0 probes"),
        (["--solver", "EulerMaruyama"], "adds noise"),
    ):
        assert main([*argv, *grid, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") <= 3
