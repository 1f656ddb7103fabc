"""`fmlab evaluate` with all of guidance, other weights, another reference, and the nearest neighbours."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import fmlab
from fmlab.__main__ import main
from fmlab.data.pixels import to_uint8
from fmlab.evaluation import Cell, Evaluation, Request, make_cells, report
from fmlab.evaluation.artifacts import NEAREST_SHOWN
from fmlab.fields import Guidance
from fmlab.metrics.neighbours import NearestNeighbours, neighbour_sets
from fmlab.records import RunLayout
from fmlab.solvers import Euler, Heun, UniformGrid


def evaluate(run: RunLayout, *extra: str) -> list[dict[str, str]]:
    """The generated rows of an evaluation called `mine`."""
    argv = ["evaluate", str(run.root), "--num_samples", "20", "--steps", "4", "--device", "cpu", "--out", "mine"]
    assert main([*argv, "--solver", "Euler", *extra]) == 0
    with (run.root / "evaluations" / "mine" / "results.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["real_vs_real"] == "False"]


def refused(run: RunLayout, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    assert main(["evaluate", str(run.root), "--num_samples", "20", "--device", "cpu", *extra]) == 2
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) <= 3
    return message


def read_images(file: Path) -> tuple[Tensor, Tensor]:
    with np.load(file) as arrays:
        return torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2), torch.from_numpy(arrays["labels"])


def test_all_of_guidance_reaches_the_samples_and_the_record(
    run: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images.npz"
    more = ["--guidance.scale", "3", "--guidance.interval", "0.2,0.6", "--guidance.rescale", "0.7"]
    (row,) = evaluate(run, *more, "--keep", str(images), "--metrics", "fid")
    samples, labels = read_images(images)
    guidance = Guidance(3.0, interval=(0.2, 0.6), rescale=0.7)
    expected = fmlab.load(run.root).generate(labels=labels, guidance=guidance, solver=Euler(), steps=4)
    assert (samples.int() - to_uint8(expected).int()).abs().max() <= 1
    assert row["setting.guidance_scale"] == "3.0"
    assert row["setting.guidance.interval"] == "[0.2, 0.6]"
    assert row["setting.guidance.rescale"] == "0.7"
    assert float(row["setting.nfe"]) == 6, "of t = 0, .25, .5, .75 two are guided"
    pictures: list[dict[str, dict[str, object]]] = []
    monkeypatch.setattr(
        report, "draw_curves", lambda panels, *rest, **more: pictures.append(panels) or np.zeros((2, 2, 3), np.uint8)
    )
    rows = evaluate(run, "--guidance.scale", "3", "--metrics", "fid", "--steps", "4,5")
    assert set(pictures[0][""]) == {"Euler()", "Euler(), interval 0.2 to 0.6, rescale 0.7"}, "a line each"
    rows = [row for row in rows if row["setting.steps"] == "4"]
    assert len(rows) == 2, "without the interval it is another setting"
    assert len({row["fid_domain"] for row in rows}) == 2


def test_autoguidance_by_an_exported_file_is_that_by_its_run(run: RunLayout, tmp_path: Path) -> None:
    file = tmp_path / "weak.safetensors"
    assert main(["export", str(run.root), "--to", str(file), "--weights", "raw", "--checkpoint", "last"]) == 0
    rows = [
        evaluate(run, "--guidance.scale", "2", "--guidance.weak", weak) for weak in (f"{run.root}@last@raw", str(file))
    ]
    assert len(rows[1]) == 2
    assert rows[1][0]["fid_domain"] == pytest.approx(rows[1][1]["fid_domain"])
    unguided = evaluate(run)[-1]
    assert unguided["fid_domain"] != rows[0][0]["fid_domain"]


def test_widths_of_averages_are_an_axis(run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = evaluate(run, "--ema.std", "0.1,0.15", "--keep", str(tmp_path / "kept"), "--metrics", "fid")
    assert [row["setting.weights"] for row in rows] == [f"power-function average, std {std}" for std in ("0.1", "0.15")]
    trained = fmlab.load(run.root, ema_std=0.15)
    done = Evaluation(trained, Request([Cell(Euler(), 4, UniformGrid())], ["fid"], 20))
    assert done.run()[1].values["fid_domain"] == pytest.approx(float(rows[1]["fid_domain"]), rel=1e-6)
    assert rows[0]["fid_domain"] != rows[1]["fid_domain"]
    assert "ema.std: a width lies in" in refused(run, capsys, "--ema.std", "0.1,0.5")
    assert 'ema.std: expected float, got "thin"' in refused(run, capsys, "--ema.std", "thin")


def test_a_file_is_the_reference(run: RunLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its images give the number that the run's own data give, for they are the same."""
    real = torch.cat(list(fmlab.load(run.root).data().reference_batches(500)))
    file = tmp_path / "real.npz"
    np.savez(file, arr_0=real.permute(0, 2, 3, 1).numpy())
    (own,) = evaluate(run, "--metrics", "fid,kid")
    capsys.readouterr()
    rows = evaluate(run, "--metrics", "fid,kid", "--reference", str(file))
    assert "no real-vs-real distance: the reference is a file of statistics" in capsys.readouterr().out
    (row,) = [row for row in rows if row["measurement.reference.data"] == "real.npz"]
    assert row["measurement.reference.hash"] == hashlib.sha256(file.read_bytes()).hexdigest()
    for name in ("fid_domain", "kid_domain"):
        assert float(row[name]) == pytest.approx(float(own[name]), rel=1e-5)
    assert "the reference (Digits against real.npz)" in (run.root / "evaluations/mine/results.md").read_text()
    np.savez(file, mu=np.zeros(2048), sigma=np.eye(2048))
    assert "holds statistics of Inception features, not of domain" in refused(run, capsys, "--reference", str(file))
    assert "cannot be read as reference statistics" in refused(run, capsys, "--reference", str(tmp_path / "no.npz"))


def test_neighbours_are_a_figure_and_a_picture(run: RunLayout) -> None:
    """The network's against the class itself on the same images; samples of the exact field are training images."""
    trained = fmlab.load(run.root)
    grid = make_cells([Heun()], [UniformGrid()], [None], [12], [1.0], exact=True)
    done = Evaluation(trained, Request(grid, ["fid", "neighbours"], 40, batch_size=16), save_seconds=0)
    network, exact = done.run()[1:]
    images = to_uint8(trained.generate(labels=done.draws.labels, steps=12))
    direct = NearestNeighbours(*neighbour_sets(done.data))
    direct.update(images)
    for name, value in direct.compute().items():
        assert network.values[name] == pytest.approx(value, rel=1e-3)
    assert exact.values["neighbour_ratio"] < 0.3 < network.values["neighbour_ratio"]
    assert exact.values["neighbour_share"] > 0.9
    assert network.measurement["estimators"].keys() == {"fid_domain", "neighbours"}
    pictures = sorted(done.folder.glob("neighbours_Heun12_*.png"))
    assert len(pictures) == 2
    assert Image.open(pictures[0]).size[0] > 96 * NEAREST_SHOWN


def test_neighbours_alone_go_on_after_an_interruption(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, trained = Cell(Euler(), 3, UniformGrid()), fmlab.load(run.root)

    def fresh(name: str) -> Evaluation:
        request = Request([cell], ["neighbours"], 40, name=name, batch_size=10)
        return Evaluation(trained, request, save_seconds=0)

    (whole,) = fresh("whole").run()
    stopped, seen = fresh("stopped"), []
    update = stopped.metrics.update

    def third_stops(*batch: Tensor) -> None:
        seen.append(len(batch[0]))
        if len(seen) == 3:
            raise KeyboardInterrupt
        update(*batch)

    monkeypatch.setattr(stopped.metrics, "update", third_stops)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    again = fresh("stopped")
    (resumed,) = again.run()
    assert resumed.values == whole.values
    assert len(again.metrics.metrics["neighbours"].pairs) == 40


def test_a_run_without_label_dropout_is_not_guided(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing has taught it what no label means; its exact field and autoguidance do not ask for that."""
    config = run.config.read_text()
    assert config.count("label_dropout: 0.1") == 1
    run.config.write_text(config.replace("label_dropout: 0.1", "label_dropout: 0.0"))
    assert "model.label_dropout was 0" in refused(run, capsys, "--guidance.scale", "1,2")
    assert main(["sample", str(run.root), "--guidance.scale", "2", "--device", "cpu"]) == 2
    assert "model.label_dropout was 0" in capsys.readouterr().err
    rows = evaluate(run, "--guidance.scale", "2", "--guidance.weak", f"{run.root}@raw", "--metrics", "fid")
    assert len(rows) == 1
    assert fmlab.load(run.root).exact_field(torch.zeros(1).long(), 2.0) is not None


def test_guidance_that_guides_nothing_is_refused(run: RunLayout, capsys: pytest.CaptureFixture[str]) -> None:
    assert "guidance.rescale: nothing is guided at scale 1" in refused(run, capsys, "--guidance.rescale", "0.5")
    assert "guidance.interval: no interval of t" in refused(
        run, capsys, "--guidance.scale", "2", "--guidance.interval", "0.9,0.2"
    )
    assert "there is no such run" in refused(run, capsys, "--guidance.scale", "2", "--guidance.weak", "nobody")
