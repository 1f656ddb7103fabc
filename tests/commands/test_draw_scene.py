"""`fmlab draw path|field|flow|trajectories|solvers`: the words of the command reach the figure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fmlab.__main__ import main
from fmlab.commands.draw import SUB_VERBS, read_subject
from fmlab.commands.draw_options import FieldOptions, check_out
from fmlab.config.options import parse_options
from fmlab.distributions import Checkerboard, EightGaussians, GaussianMixture, Moons
from fmlab.errors import UserError
from fmlab.figures import ImageScene, Scene
from fmlab.objectives import Independent, MinibatchOT
from fmlab.paths import VP, CondOT, Cosine, Interpolant


def subject(*argv: str) -> Scene | ImageScene:
    return read_subject(parse_options(FieldOptions, argv, "draw field"))


def scene(*argv: str) -> Scene:
    drawing = subject(*argv)
    assert isinstance(drawing, Scene)
    return drawing


def test_words_make_a_scene() -> None:
    plain = scene()
    assert (type(plain.data), repr(plain.path), plain.source) == (Checkerboard, repr(CondOT()), None)
    assert isinstance(plain.coupling, Independent)
    changed = scene("--data", "EightGaussians", "--data.std=0.3", "--path=VP", "--path.beta_max=12", "--z", "1,-2")
    assert changed.known_law.covariances[0, 0, 0].item() == pytest.approx(0.09)
    assert isinstance(changed.path, VP)
    assert changed.path.beta_max == 12
    assert changed.given.tolist() == [1, -2]
    assert isinstance(scene("--data=mixture").data, GaussianMixture)
    assert isinstance(scene("--data=Toy2D", "--data.name=moons").data, Moons)
    between = scene("--source=Circles", "--path=Cosine", "--coupling=MinibatchOT", "--seed=5")
    assert isinstance(between.path, Interpolant)
    assert isinstance(between.path.schedule, Cosine)
    assert isinstance(between.coupling, MinibatchOT)
    assert between.seed == 5


def test_a_configuration_makes_a_scene(folder: Path) -> None:
    """The model's path and the data of the file; words stand over it, under their short names."""
    plain = scene("--config", "points.yaml")
    assert isinstance(plain.data, Moons)
    assert plain.learned is None
    assert (plain.path.beta_min, plain.path.beta_max) == (0.2, 12)
    other = scene("--config=points.yaml", "--data=EightGaussians", "--path=Cosine", "--source=Circles")
    assert isinstance(other.data, EightGaussians)
    assert isinstance(other.path, Interpolant)
    assert scene("--config=points.yaml", "--path.beta_max=20", "--data.name=checkerboard").path.beta_max == 20


def test_images_are_drawn_on_their_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits = subject("--data=Digits")
    assert isinstance(digits, ImageScene)
    assert digits.sample_data(3).shape == (3, 1, 8, 8)
    out = tmp_path / "digits.png"
    argv = ["draw", "path", "--data=Digits", "--num_samples=2", "--times=0,0.5,1", f"--out={out}"]
    assert main(argv) == 0
    assert "from noise to Digits along CondOT" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width > 1.3 * picture.height


STILL = {
    "path": ["--data=Moons", "--times=0,1"],
    "field": ["--data=8gaussians", "--times=0.5", "--label=1", "--guidance.scale=2"],
    "flow": ["--data=mixture", "--times=0,1", "--steps=4", "--solver=Euler", "--grid=CosineGrid", "--num_samples=10"],
    "trajectories": ["--data=8gaussians", "--steps=10", "--num_samples=5", "--diffusion=0.5,NoiseLevelDiffusion"],
    "solvers": ["--data=mixture", "--solver=Euler,Heun", "--nfe=4,8", "--num_samples=4"],
}


@pytest.mark.parametrize("name", STILL)
def test_figures_are_written(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "new" / "a.png", tmp_path / "b.png"]
    for file in files:
        assert main(["draw", name, *STILL[name], "--out", str(file)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("from noise to ")
    assert f"figure     {files[0]}\n" in output
    assert files[0].read_bytes() == files[1].read_bytes()


def test_solver_errors_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On Gaussian data Euler halves its error with twice the evaluations, Heun's falls to a quarter (F11)."""
    argv = ["--data=Gaussian", "--data.mean=[1,0]", "--data.covariance=[[0.25,0],[0,0.5]]", "--nfe=32,64,128"]
    assert main(["draw", "solvers", *argv, "--solver=Euler,Heun", "--num_samples=8", f"--out={tmp_path}/a.svg"]) == 0
    slopes = dict(re.findall(r"^(\w+) .* slope ([\d.]+)$", capsys.readouterr().out, re.MULTILINE))
    assert float(slopes["Euler"]) == pytest.approx(1, abs=0.1)
    assert float(slopes["Heun"]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("name", ["path", "field", "flow", "trajectories"])
def test_films_have_the_frames_asked_for(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, argv = tmp_path / "a.gif", [word for word in STILL[name] if not word.startswith("--times")]
    times = [] if name == "trajectories" else ["--times=0.1,0.9"]
    assert main(["draw", name, *argv, *times, "--frames=3", f"--out={out}"]) == 0
    assert f"figure     {out}, 3 frames" in capsys.readouterr().out
    with Image.open(out) as film:
        assert film.n_frames == 3


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "--help"]) == 0
    overview = capsys.readouterr().out
    for name in SUB_VERBS:
        assert f"  {name:12}  Draws" in overview
        assert main(["draw", name, "--help"]) == 0
        assert "--out" in capsys.readouterr().out


def test_help_needs_no_torch() -> None:
    code = "import sys; from fmlab.__main__ import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    for verb in (["draw", "path"], ["diagnose"]):
        command = [sys.executable, "-c", code, *verb, "--help"]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("file", "moving", "hint"),
    [
        ("a.gif", False, "write .png, .pdf or .svg"),
        ("a.jpg", True, "write .png, .pdf or .svg, or .gif for motion"),
        ("a", False, "write .png, .pdf or .svg"),
    ],
)
def test_files_that_hold_no_figure_are_refused(file: str, moving: bool, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        check_out(Path(file), moving=moving)
    assert (raised.value.key, raised.value.hint) == ("out", hint)


MISTAKES = [
    (["path", "--data=Chekerboard"], ["error: data: no data are called 'Chekerboard'", "  did you mean checkerboard"]),
    (["path", "--path=VQ"], ["error: path: no ProbabilityPath is called 'VQ'"]),
    (["path", "--data.std=1"], ["error: data.std: unknown key, Checkerboard takes no 'std'"]),
    (["path", "--data=moons", "--data.noise=1"], ["error: data.noise: a shape has no arguments"]),
    (["path", "--data=Moons", "--data.nois=1"], ["error: data.nois: unknown key, Moons takes no 'nois'"]),
    (["path", "--times=0,2"], ["error: times: times increase within [0, 1], got 0,2"]),
    (["path", "--times=0.5,0.2"], ["error: times: times increase within [0, 1], got 0.5,0.2"]),
    (["path", "--times=soon"], ['error: times: expected float, got "soon"']),
    (["path", "--times=0.5", "--out=a.gif"], ["error: times: a film goes from one time to another"]),
    (["path", "--rows=learned"], ["error: rows: there is no row 'learned'"]),
    (["field", "--rows=learned"], ["error: rows: learned cannot be drawn here: it needs a trained RUN"]),
    (["field", "--rows=margnal"], ["error: rows: there is no row 'margnal'", "  did you mean marginal?"]),
    (
        ["field", "--rows=conditional", "--coupling=MinibatchOT"],
        [
            "error: rows: conditional cannot be drawn here: a coupling ties noise to data",
            "  choose from: marginal",
        ],
    ),
    (
        ["field", "--data=Digits"],
        [
            "error: draw field: Digits has images, and field is drawn of points on the plane",
            "  of images fmlab draw path shows the path",
        ],
    ),
    (["field", "--z=1"], ["error: z: expected 2 values with commas"]),
    (["field", "--z=here,there"], ['error: z: expected float, got "here"']),
    (["field", "--label=8", "--data=8gaussians"], ["error: labels: EightGaussians has no class 8"]),
    (["field", "--guidance.scale=2"], ["error: guidance.scale: guidance needs a class", "  add --label 0"]),
    (["field", "--guidance.scale=1,2", "--label=0"], ["error: guidance.scale: expected float, got"]),
    (["field", "--out=a.jpg"], ["error: out: no figure can be written to a.jpg"]),
    (["solvers", "--out=a.gif"], ["error: out: a.gif: nothing moves in this figure"]),
    (["field", "--frames=1", "--out=a.gif"], ["error: frames: has to be at least 2, got 1"]),
    (["flow", "--steps=0"], ["error: steps: has to be at least 1, got 0"]),
    (
        ["flow", "--solver=EulerMaruyama"],
        ["error: solver: EulerMaruyama adds noise, and this figure needs a solver of the ODE"],
    ),
    (["trajectories", "--solver=EulerMaruyama"], ["error: solver: EulerMaruyama adds noise"]),
    (["trajectories", "--diffusion=-1"], ["error: diffusion: a diffusion coefficient is not negative"]),
    (["field", "--source.noise=0.1"], ["error: source.noise: no source takes this argument"]),
    (["trajectories", "--diffusion=Nois"], ["error: sde.diffusion"]),
    (["solvers", "--solver=EulerMaruyama"], ["error: solver: EulerMaruyama adds noise"]),
    (["solvers", "--source=Circles"], ["error: path: a converged solution needs a Gaussian path"]),
    (["solvers", "--nfe=1", "--solver=RK4", "--data=mixture"], ["error: nfe: no budget pays for a step of RK4()"]),
    (["field", "nowhere"], ["error: nowhere"]),
    (["field", "--config=nowhere.yaml"], ["error: --config nowhere.yaml: no such file"]),
    (["field", "a", "--config=b.yaml"], ["error: config: a RUN has its own configuration"]),
    (["field", "a", "--data=Moons"], ["error: data: a run has its own data"]),
    (["feild"], ["error: draw feild: fmlab draw has no such word", "  did you mean field?"]),
]


@pytest.mark.parametrize(("argv", "expected"), MISTAKES, ids=[" ".join(argv) for argv, _ in MISTAKES])
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
    assert len(expected) <= len(lines) <= 3
    assert all(line.startswith(start) for line, start in zip(lines, expected)), lines
    assert not list(tmp_path.iterdir())
