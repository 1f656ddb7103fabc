"""`fmlab draw process`: a picture, and one line that holds simulation against theory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from fmlab.__main__ import main
from fmlab.commands.draw_options import ProcessOptions
from fmlab.config.options import parse_options
from fmlab.config.parts import build_component
from fmlab.solvers import NoiseLevelDiffusion, Solver

OU = ["--process", "OrnsteinUhlenbeck", "--process.theta=2", "--process.sigma=1", "--steps", "100", "--until=3"]
TURN = ["--process=LinearODE", "--process.matrix=[[0,-1],[1,0]]", "--solver=Heun"]
CASES = {
    "ornstein-uhlenbeck": ([*OU, "--start=1"], "0.0025", "0.5"),
    "several starts": ([*OU, "--start=[-1,1]", "--num_samples=3", "--until=0.2"], "0", "0.7662"),
    "brownian motion in the plane": (
        ["--process=BrownianMotion", "--process.sigma=0.5", "--start=[[1,-1]]", "--until=4", "--steps=10"],
        "(1, -1)",
        "(1, 1)",
    ),
    "langevin on a mixture": (
        ["--process=Langevin", "--process.distribution=EightGaussians", "--process.distribution.std=1"],
        "(0, 0)",
        "(1.7321, 1.7321)",
    ),
    "a rotation": (
        [*TURN, "--start=[1,0]", "--until=1.5707963267948966"],
        "(0, 1)",
        "(0, 0)",
    ),
}


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)]


@pytest.mark.parametrize("name", CASES)
def test_a_process_is_drawn_and_compared(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the exact moments, and those of 4000 simulated paths are within what chance allows."""
    argv, mean, std = CASES[name]
    out = tmp_path / "pictures" / "process.png"
    assert main(["draw", "process", *argv, "--out", str(out)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("at t = "))
    law = "invariant law" if name.startswith("langevin") else "exact"
    assert line.endswith(f"; {law} mean {mean}, std {std}")
    simulated = numbers(line.partition(": ")[2].partition(";")[0])
    assert simulated == pytest.approx(numbers(f"{mean} {std}"), abs=0.08)
    assert simulated != [0.0] * len(simulated)
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500


def test_the_seed_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file, seed in zip(files, "334"):
        assert main(["draw", "process", *OU, "--seed", seed, "--out", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["proces"], ["error: draw proces: fmlab draw has no such word", "  did you mean process?"]),
        (
            ["process", "--process=OrnsteinUlenbeck"],
            ["error: process: no Process is called 'OrnsteinUlenbeck'", "  did you mean OrnsteinUhlenbeck?"],
        ),
        (
            ["process", *OU, "--process.thta=1"],
            ["error: process.thta: unknown key, OrnsteinUhlenbeck takes no 'thta'", "  did you mean theta?"],
        ),
        (["process", *OU, "--process.theta=0"], ["error: process.theta: OrnsteinUhlenbeck needs theta > 0, got 0.0"]),
        (
            ["process", *OU, "--solver=Heun"],
            ["error: solver: Heun solves ODEs, and OrnsteinUhlenbeck has noise", "  use EulerMaruyama"],
        ),
        (
            ["process", "--process=Langevin", "--process.distribution=Moons"],
            ["error: process.distribution: Moons has samples only, no score in closed form"],
        ),
        (["process", *TURN, "--start=[[1]]"], ["error: start: a point of this process has 2 coordinates, got [[1]]"]),
        (["process", *OU, "--start=here"], ["error: start: cannot read 'here'"]),
        (["process", *OU, "--out=a.gif"], ["error: out: a.gif: nothing moves in this figure"]),
        (["process", *OU, "--until=0"], ["error: until: has to be above 0, got 0"]),
        (["process", *OU, "--steps=0"], ["error: steps: has to be at least 1, got 0"]),
        (["process", *OU, "--stepz=1"], ["error: --stepz: fmlab draw process has no such option"]),
        (
            ["process", "--process=LinearODE", "--process.matrix=[[1,0,0],[0,1,0],[0,0,1]]"],
            ["error: process: one or two dimensions can be drawn, not shape (3,)"],
        ),
        (
            ["process", "--process=LinearODE", "--process.matrix=[[-1000]]", "--solver=Euler"],
            ["error: steps: Euler() diverges in 200 steps", "  take more, or end earlier"],
        ),
    ],
)
def test_mistakes_are_answered_in_three_lines(
    argv: list[str],
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", *argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[: len(expected)] == expected
    assert len(lines) <= 3
    assert not list(tmp_path.iterdir())


def test_parts_take_parts() -> None:
    """`--solver.diffusion` may be a class with arguments of its own, in whichever order they are typed."""
    argv = ["--solver.diffusion.scale", "0.5", "--num_samples=3", "--solver.diffusion=NoiseLevelDiffusion"]
    options = parse_options(ProcessOptions, [*OU, *argv], "draw process")
    assert options.num_samples == 3
    solver = build_component("solver", options.solver, Solver)
    assert isinstance(solver.diffusion, NoiseLevelDiffusion)
    assert solver.diffusion.scale == 0.5
