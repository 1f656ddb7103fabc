"""`fmlab evaluate`: grids from comma lists, what it leaves, and what it says of mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmlab.__main__ import main
from fmlab.config.options import convert, split_list
from fmlab.records import RunLayout


def evaluate(run: RunLayout, *extra: str) -> int:
    return main(["evaluate", str(run.root), "--num_samples", "20", "--steps", "2", "--device", "cpu", *extra])


def folder(run: RunLayout) -> Path:
    (path,) = (run.root / "evaluations").iterdir()
    return path


def read(run: RunLayout) -> list[dict[str, str]]:
    with (folder(run) / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_grid_leaves_its_record(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """Every combination once, in the table, the files and the plots; repeated, it only tells what it knows."""
    grid = ["--solver", "Euler,Dopri5", "--solver.rtol", "1e-1,1e-2", "--steps", "2,3", "--guidance.scale", "1,2"]
    assert evaluate(run, *grid, "--metrics", "fid") == 0
    output = capsys.readouterr().out
    rows = read(run)
    assert len(rows) == 1 + 3 * 2 * 2, "real data, and three solvers, two numbers of steps, two scales"
    assert len({row["key"] for row in rows}) == len(rows)
    solvers = {row["setting.solver"] for row in rows if row["real_vs_real"] == "False"}
    assert {name.split(", ")[0] for name in solvers} == {"Euler()", "Dopri5(rtol=0.1", "Dopri5(rtol=0.01"}
    euler = {
        (int(row["setting.steps"]), float(row["setting.guidance_scale"])): float(row["setting.nfe"])
        for row in rows
        if row["setting.solver"] == "Euler()"
    }
    assert euler == {(2, 1.0): 2, (3, 1.0): 3, (2, 2.0): 4, (3, 2.0): 6}
    assert output.count("real against real: 20 against 718 others") == 1
    assert "known already" not in output
    assert folder(run).name.startswith("fid_n20_domain_")
    assert (folder(run) / "results.md").read_text() in output
    assert "20 images against Digits train" in output
    assert len(json.loads((folder(run) / "results.json").read_text())) == len(rows)
    pictures = sorted(file.name for file in folder(run).glob("*.png"))
    assert pictures == ["fid_domain_by_guidance_scale.png", "fid_domain_by_nfe.png"]
    assert Image.open(folder(run) / pictures[0]).size[0] > 600
    assert evaluate(run, "--metrics", "fid", "--solver", "Euler", "--steps", "2") == 0
    again = capsys.readouterr().out
    assert again.count("known already") == 2
    assert read(run) == rows, "and what was measured before stays in the record"


def test_labels_paths_and_samples(run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = tmp_path / "images.npz"
    where = ["--path", "VP", "--path.beta_max=12", "--grid", "RhoGrid", "--grid.rho=3", "--out", "mine"]
    assert evaluate(run, "--labels", "3,7", "--weights", "raw", "--seed", "5", "--keep", str(keep), *where) == 0
    arrays = np.load(keep)
    assert arrays["labels"].tolist() == [3, 7] * 10
    assert arrays["images"].shape == (20, 8, 8, 1)
    (row,) = [row for row in read(run) if row["real_vs_real"] == "False"]
    assert folder(run).name == "mine"
    assert row["setting.path"] == "VP(beta_min=0.1, beta_max=12.0)"
    assert row["setting.grid"].startswith("RhoGrid(rho=3")
    assert row["setting.labels"] == "3,7 in turn"
    assert row["setting.weights"] == "raw"
    assert row["setting.seeds"] == "[5, 24]"
    assert {"fid_domain", "kid_domain"} <= set(row), "all metrics of images where none is named"
    capsys.readouterr()
    assert evaluate(run, "--out", "mine", "--features", "random") == 0
    output = capsys.readouterr().out
    assert "not ranked together; they differ in the features (domain against random)" in output


def test_the_precision_is_a_setting(run: RunLayout) -> None:
    assert evaluate(run, "--metrics", "fid", "--out", "mine") == 0
    assert evaluate(run, "--metrics", "fid", "--out", "mine", "--precision", "bf16-mixed") == 0
    rows = [row for row in read(run) if row["real_vs_real"] == "False"]
    assert [row["setting.precision"] for row in rows] == ["float32", "bf16-mixed"]
    assert rows[0]["fid_domain"] != rows[1]["fid_domain"]


def test_points(toy_run: RunLayout, tmp_path: Path) -> None:
    assert evaluate(toy_run, "--keep", str(tmp_path / "points.npz")) == 0
    row = read(toy_run)[1]
    assert float(row["w2"]) > 0
    assert abs(float(row["mmd"])) < 1, "an unbiased estimate may be below 0"
    assert np.load(tmp_path / "points.npz")["points"].shape == (20, 2)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (["--metrics", "fdi"], ["metrics: there is no metric 'fdi'", "fid"]),
        (["--metrics", "fid,w2"], ["metrics: w2 compares points", "fid, kid"]),
        (["--metrics", "fid,,kid"], ["metrics: cannot read"]),
        (["--num_samples", "1"], ["num_samples: fid, the Fréchet distance, needs at least 20 images, not 1"]),
        (["--num_samples", "0"], ["num_samples: has to be at least 1, got 0"]),
        (["--labels", "0-12"], ["labels: no label 10", "labels are 0 to 9"]),
        (["--labels", "9-0"], ["labels: 9-0 holds no label"]),
        (["--labels", "odd"], ["labels: no class 'odd'"]),
        (["--features", "incepton"], ["features: there are no features called 'incepton'", "inception"]),
        (["--solver", "Euler,Huen"], ["solver: no solver is called 'Huen'", "Heun"]),
        (["--solver", "Euler,Heun", "--solver.rtol=1"], ["solver.rtol: no solver here takes this argument"]),
        (["--path.beta_max=3"], ["path.beta_max: no path takes this argument", "--path CLASS"]),
        (["--steps", "5,x"], ['steps: expected int, got "x"']),
        (["--steps", "2,0"], ["steps: has to be at least 1, got 0"]),
        (["--guidance.scale", "1;2"], ['guidance.scale: expected float, got "1;2"']),
        (
            ["--grid", "ListGrid", "--grid.times=[0.5]", "--steps", "5"],
            ["steps: 1 times between the ends make 2 steps"],
        ),
        (["--batch_size", "0"], ["batch_size: has to be at least 1, got 0"]),
        (["--out", "a/b"], ["out: 'a/b' is no folder's name"]),
        (["--checkpoint", "bets"], ["no checkpoint 'bets'", "best"]),
        (["--qqq", "1"], ["--qqq: fmlab evaluate has no such option", "fmlab evaluate --help"]),
        (["--metric", "fid"], ["--metric: fmlab evaluate has no such option", "did you mean --metrics"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_mistakes_are_told_in_three_lines(
    bad: list[str], expected: list[str], digits: RunLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(digits, *bad) == 2
    message = capsys.readouterr().err.strip()
    for word in expected:
        assert word in message, message
    assert len(message.splitlines()) <= 3, message
    assert not (digits.root / "evaluations").exists(), "nothing was begun"


def test_mistakes_of_points(toy: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bad, expected in (
        (["--metrics", "fid"], "metrics: fid compares images"),
        (["--num_samples", "241"], "num_samples: 241 samples against 240 reference points"),
        (["--guidance.scale", "2"], "guidance.scale: guidance scale 2 asked of a model without labels"),
        (["--labels", "1"], "labels: this model was trained without labels"),
        (["--keep", str(tmp_path / "pictures")], "keep: points are not images"),
    ):
        assert evaluate(toy, *bad) == 2
        message = capsys.readouterr().err.strip()
        assert expected in message
        assert len(message.splitlines()) <= 3


def test_what_is_no_run_and_what_is_no_checkpoint(
    run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["evaluate", str(tmp_path / "empty")]) == 2
    assert "there is no such run" in capsys.readouterr().err
    assert main(["evaluate"]) == 2
    assert "RUN is missing" in capsys.readouterr().err
    shutil.copy(run.last, tmp_path / "whole.ckpt")
    for length in (0, 100, 20_000):
        run.last.write_bytes((tmp_path / "whole.ckpt").read_bytes()[:length])
        assert evaluate(run, "--checkpoint", "last") == 2
        message = capsys.readouterr().err.strip()
        assert "last.ckpt: cannot be read" in message
        assert len(message.splitlines()) <= 3


def test_wandb_never_stops_an_evaluation(
    run: RunLayout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it is sent is a run of its own, in the group of the evaluated one; where it breaks, one warning."""
    import wandb

    asked: list[dict[str, object]] = []

    def broken(**arguments: object) -> None:
        asked.append(arguments)
        raise RuntimeError("no service")

    monkeypatch.setattr(wandb, "init", broken)
    assert evaluate(run, "--metrics", "fid", "--wandb") == 0
    assert [record.message for record in caplog.records] == ["these results did not reach W&B: no service"]
    assert asked[0]["group"] == run.id
    assert asked[0]["id"] == f"{run.id}-{folder(run).name}"
    assert asked[0]["mode"] == "offline", "nobody is logged in"
    assert read(run)[1]["fid_domain"]


@pytest.mark.slow
def test_wandb_offline_has_the_results(run: RunLayout) -> None:
    assert evaluate(run, "--steps", "2,3", "--wandb") == 0
    (offline,) = (folder(run) / "wandb").glob("offline-run-*")
    assert list(offline.glob("run-*.wandb"))
    assert list((offline / "files" / "media").rglob("*fid_domain_by_nfe*.png"))


def test_commas_within_brackets_do_not_part() -> None:
    assert split_list("x", "a,b") == ["a", "b"]
    assert split_list("x", "[0.1,0.2],[0.5]") == ["[0.1,0.2]", "[0.5]"]
    assert convert("x", "a,a", tuple[str, ...]) == ("a",), "twice is once"
