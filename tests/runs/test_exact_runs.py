"""The loss floor of a run, and samples along the exact field of its training set (fact F10)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import arguments, newest

import fmlab
from fmlab.__main__ import main
from fmlab.data import Digits
from fmlab.errors import UserError
from fmlab.fields import GuidedField
from fmlab.inference.trained import Trained
from fmlab.paths import CondOT
from fmlab.records import RunLayout, read_metrics

Fit = Callable[..., RunLayout]

TOY = [
    "--model.network.width=16",
    "--model.network.depth=1",
    "--data.train_size=300",
    "--data.validation_size=300",
    "--data.global_batch_size=50",
    "--samples.points=20",
    "--fid.num_samples=20",
]


def column(run: RunLayout, key: str) -> list[float]:
    return [float(row[key]) for row in read_metrics(run.metrics) if row.get(key) not in (None, "")]


def test_a_run_knows_its_floor_and_samples_its_training_set(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("--floor.num_samples=300", "--data.flip=true", "--model.label_dropout=0.3")
    excess, floor = column(run, "train/excess"), column(run, "train/floor")
    assert len(excess) == len(floor) == 2
    assert floor[0] == floor[1] > 0.05
    assert excess[0] != excess[1]
    record = json.loads((run.root / "excess.json").read_text())
    assert record["step"] == 4
    assert record["overall"]["excess"] == pytest.approx(excess[1], rel=1e-5)
    assert sum(entry["draws"] for entry in record["bins"]) == record["overall"]["draws"] == 300
    bins = [column(run, f"train/excess_t_bin_{index}") for index in range(10)]
    assert [entry["excess"] for entry in record["bins"]] == pytest.approx([values[-1] for values in bins], rel=1e-5)
    overall = record["overall"]
    assert overall["difference"] == pytest.approx(overall["excess"], abs=4 * overall["difference_error"])
    capsys.readouterr()
    assert main(["validate", str(run.root), "--checkpoint", "last"]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines() if "train/" in line)
    assert float(printed["train/excess"]) == pytest.approx(excess[1], rel=1e-4)
    assert json.loads((run.root / "excess.json").read_text()) == record, "validating again leaves the run's record"

    images, labels = Digits().labelled_images("train")
    images_of_label = {
        label: torch.cat([images[labels == label], images[labels == label].flip(-1)]) for label in range(10)
    }
    argv = ["sample", str(run.root), "--exact", "--num_samples", "20", "--out", str(tmp_path / "exact.npz")]
    assert main(argv) == 0
    output = capsys.readouterr().out
    assert "39 evaluations a sample, the exact field of the training data" in output
    assert (run.samples / "exact_Heun20_w1_seed0.png").is_file()
    arrays = np.load(tmp_path / "exact.npz")
    for image, label in zip(torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2), arrays["labels"].tolist()):
        distance = (images_of_label[label].int() - image.int()).abs().flatten(1).amax(1)
        assert distance.min() <= 1, "every sample is a training image of its class, or its mirror image"
    trained = fmlab.load(run.root)
    field = trained.exact_field(torch.arange(10), guidance=2.0)
    assert isinstance(field, GuidedField)
    assert field(torch.randn(10, 1, 8, 8), torch.tensor(0.5)).velocity.shape == (10, 1, 8, 8)


def toy(folder: Path, *extra: str) -> int:
    """A tiny run on points: the command's exit code."""
    argv = [word for word in arguments(folder, *TOY, *extra, experiment="toy2d") if "heads" not in word]
    return main(["fit", *argv])


def test_a_run_on_points(tmp_path: Path) -> None:
    assert toy(tmp_path, "--floor.num_samples=100") == 0
    run = newest(tmp_path, "toy2d")
    assert len(column(run, "train/excess")) == 2
    trained = fmlab.load(run.root)
    assert trained.exact_field()(torch.randn(3, 2), torch.tensor(0.5)).data.shape == (3, 2)


def test_a_field_that_is_not_known_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="floor: not measured, the exact field is not known: the source is not Gaussi"):
        assert toy(tmp_path, "--floor={}", "--model.source=EightGaussians") == 0
    capsys.readouterr()
    assert main(["sample", str(newest(tmp_path, "toy2d").root), "--exact"]) == 2
    (message,) = capsys.readouterr().err.strip().splitlines()
    assert message.endswith("exact: the exact field is not known: the source is not Gaussian noise")


def test_a_field_made_by_hand_knows_no_training_data() -> None:
    trained = Trained(torch.nn.Identity(), CondOT(), "velocity", (2,))
    with pytest.raises(UserError, match="training data are not known"):
        trained.exact_field()
