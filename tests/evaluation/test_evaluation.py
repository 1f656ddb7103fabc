"""One generation pass a cell: the numbers, their repetition after an interruption, the memory, the seeds."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fmlab
from fmlab.data.pixels import to_uint8
from fmlab.evaluation import Cell, Evaluation, Request, Row, comparable, make_cells
from fmlab.fields import Generated
from fmlab.inference.trained import Trained
from fmlab.metrics.domain import shipped_network
from fmlab.metrics.kernel import KernelDistance
from fmlab.metrics.metric_set import MetricSet
from fmlab.paths import Cosine
from fmlab.records import RunLayout, read_metrics
from fmlab.solvers import Dopri5, Euler, Heun, UniformGrid

EULER = Cell(Euler(), 3, UniformGrid())


def evaluation(
    run: RunLayout,
    cells: list[Cell],
    n: int = 60,
    metrics: str = "fid,kid",
    batch_size: int = 16,
    name: str | None = None,
    keep: Path | None = None,
) -> Evaluation:
    """With statistics saved after every batch."""
    request = Request(cells, metrics.split(","), n, batch_size=batch_size, name=name, keep=keep)
    return Evaluation(fmlab.load(run.root, "last"), request, save_seconds=0)


def generated(row_list: list[Row]) -> list[Row]:
    return [row for row in row_list if not row.real_vs_real]


def test_the_numbers_are_those_of_the_samples(run: RunLayout) -> None:
    """Against `Trained.sample` with the labels given, and numpy's covariances."""
    done = evaluation(run, [Cell(Heun(), 3, UniformGrid(), guidance=2.0)])
    other_half, row = done.run()
    images = to_uint8(
        done.trained.generate(labels=done.draws.labels, guidance=2.0, solver=Heun(), steps=3, batch_size=60)
    )
    network = shipped_network("digits")
    features = network(images).double().numpy()
    real = torch.cat(list(done.data.reference_batches(500)))
    reference = network(real).double().numpy()
    product = np.cov(features.T) @ np.cov(reference.T)
    mean = features.mean(0) - reference.mean(0)
    overlap = np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum()
    expected = mean @ mean + np.trace(np.cov(features.T)) + np.trace(np.cov(reference.T)) - 2 * overlap
    assert row.values["fid_domain"] == pytest.approx(expected, rel=1e-5)
    kernel = KernelDistance(torch.from_numpy(reference).float())
    kernel.update(torch.from_numpy(features).float())
    assert row.values["kid_domain"] == pytest.approx(float(kernel.compute()["kid"]), rel=1e-5)
    assert row.setting["nfe"] == 10, "five evaluations, two forwards each"
    assert 0 < other_half.values["fid_domain"] < row.values["fid_domain"]
    assert other_half.setting == {"field": "real data", "real": 60, "against": 718}


def test_validation_and_evaluation_agree(run: RunLayout) -> None:
    """The number that the callback logged is the one that the same setting gives, and is measured alike."""
    recorded = json.loads((run.root / "measurement.json").read_text())
    trained = fmlab.load(run.root, "last")
    done = Evaluation(trained, Request([Cell(Euler(), 2, UniformGrid())], ["fid", "kid"], 20))
    row = generated(done.run())[0]
    logged = read_metrics(run.metrics)[-1]
    for name in ("fid_domain", "kid_domain"):
        assert row.values[name] == pytest.approx(float(logged[f"val/{name}"]), rel=1e-5)
    assert comparable(recorded["measurement"], row.measurement)
    same = (
        "solver",
        "grid",
        "path",
        "steps",
        "guidance_scale",
        "labels",
        "seeds",
        "weights",
        "global_batch",
        "versions",
    )
    assert {name: recorded["setting"][name] for name in same} == {name: row.setting[name] for name in same}


def test_measurement_and_setting_are_complete(run: RunLayout) -> None:
    row = generated(evaluation(run, [EULER]).run())[0]
    measured, setting = row.measurement, row.setting
    assert measured["samples"] == 60
    assert measured["reference"]["data"] == "Digits"
    assert measured["reference"]["split"] == "train"
    assert measured["reference"]["size"] == 1437
    assert measured["features"] == {"name": "domain", "weights": shipped_network("digits").weights_hash}
    assert set(measured["estimators"]) == {"fid_domain", "kid_domain"}
    assert len(measured["reference"]["hash"]) == len(setting["checkpoint"]["hash"]) == 64
    assert setting["checkpoint"]["file"] == "last.ckpt"
    assert setting["checkpoint"]["step"] == 30
    assert setting["weights"] == "averaged, decay 0.999"
    assert setting["global_batch"] == 64
    assert {"uint8", "resize"} <= set(measured)
    assert {"path", "grid", "nfe", "labels", "seeds", "precision", "versions", "batch_size"} <= set(setting)


def interrupt_at(patch: pytest.MonkeyPatch, batch: int) -> list[int]:
    """Makes the update of that batch, counted from 0, fail as Ctrl-C does; the samples of every batch are counted."""
    seen: list[int] = []
    update = MetricSet.update

    def breaks(self: MetricSet, samples: Tensor, labels: Tensor | None, *rest: Tensor) -> None:
        if labels is not None:  # not of the real data's half
            seen.append(len(samples))
            if len(seen) == batch + 1:
                raise KeyboardInterrupt
        update(self, samples, labels, *rest)

    patch.setattr(MetricSet, "update", breaks)
    return seen


@pytest.mark.parametrize("keeps", [False, True])
def test_an_interrupted_evaluation_goes_on(
    keeps: bool, run: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number, and the images kept, are those of an uninterrupted one; nothing finished is done again."""
    grid = make_cells([Euler(), Dopri5(1e-2, 1e-2)], [UniformGrid()], [None], [2], [1.0])
    whole = evaluation(run, grid, 61, name="whole", keep=tmp_path / "whole.npz" if keeps else None).run()
    keep = tmp_path / "parts.npz" if keeps else None
    with monkeypatch.context() as broken:
        seen = interrupt_at(broken, 6)
        with pytest.raises(KeyboardInterrupt):
            evaluation(run, grid, 61, name="parts", keep=keep).run()
    assert seen == [16, 16, 16, 13, 16, 16, 16], "in the third batch of the second cell"
    with monkeypatch.context() as counted:
        seen = interrupt_at(counted, -1)
        resumed = evaluation(run, grid, 61, name="parts", keep=keep).run()
    assert seen == [16, 13]
    for first, second in zip(whole, resumed, strict=True):
        assert second.values == pytest.approx(first.values, rel=1e-12)
        assert second.setting == first.setting, "the forwards too"
    folder = run.root / "evaluations" / "parts"
    assert not list((folder / "partial").iterdir())
    if keeps:
        for cell in tmp_path.glob("whole_*.npz"):
            arrays = np.load(tmp_path / cell.name.replace("whole", "parts"))
            for name, array in np.load(cell).items():
                assert np.array_equal(arrays[name], array), name
        assert len(list(tmp_path.glob("*.npz"))) == 4


def test_statistics_of_samples_that_were_not_kept_do_not_count(
    run: RunLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted pass kept its samples elsewhere; the next one, interrupted too, keeps none of them."""
    grid = make_cells([Euler()], [UniformGrid()], [None], [2], [1.0])
    whole = tmp_path / "whole.npz"
    evaluation(run, grid, 61, name="whole", keep=whole).run()
    for target, batch in (("first.npz", 2), ("second.npz", 0)):
        with monkeypatch.context() as broken:
            interrupt_at(broken, batch)
            with pytest.raises(KeyboardInterrupt):
                evaluation(run, grid, 61, name="parts", keep=tmp_path / target).run()
    evaluation(run, grid, 61, name="parts", keep=tmp_path / "second.npz").run()
    assert np.array_equal(np.load(tmp_path / "second.npz")["images"], np.load(whole)["images"])


def test_a_finished_cell_is_not_measured_again(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even with others beside it or another batch size; other weights are another cell."""
    first = evaluation(run, [EULER]).run()
    drawn: list[int] = []
    generate_batches = Trained.generate_batches

    def counted(self: Trained, *args: Any, **kwargs: Any) -> Iterator[Generated]:
        drawn.append(args[2].steps)
        return generate_batches(self, *args, **kwargs)

    monkeypatch.setattr(Trained, "generate_batches", counted)
    again = evaluation(run, [EULER, Cell(Euler(), 2, UniformGrid())], batch_size=60).run()
    assert drawn == [2]
    assert again[:2] == first
    trained = fmlab.load(run.root, "last", weights="raw")
    raw = Evaluation(trained, Request([EULER], ["fid", "kid"], 60, batch_size=60))
    row = generated(raw.run())[0]
    assert drawn == [2, 3]
    assert row.setting["weights"] == "raw"
    assert row.values != first[1].values


def test_another_cell_s_samples_are_not_taken_for_its_own(run: RunLayout, tmp_path: Path) -> None:
    """A row that is known is measured again where its samples are wanted and are not there."""
    keep, cell = tmp_path / "images.npz", Cell(Euler(), 2, UniformGrid())
    evaluation(run, [cell], keep=keep).run()
    expected = dict(np.load(keep))
    evaluation(run, [EULER], keep=keep).run()
    assert not np.array_equal(np.load(keep)["images"], expected["images"])
    evaluation(run, [cell], keep=keep).run()
    assert all(np.array_equal(np.load(keep)[name], array) for name, array in expected.items())
    pictures = tmp_path / "pictures"
    evaluation(run, [cell], 20, keep=pictures).run()
    assert len(list(pictures.glob("0000*_class?.png"))) == 20


def test_memory_does_not_grow_with_the_number(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many images there are, those alive are of one batch."""
    alive: list[int] = []
    update = MetricSet.update

    def images() -> int:
        """Numbers in batches of images, of whatever type; the data set itself is larger."""
        tensors = [tensor for tensor in gc.get_objects() if type(tensor) is Tensor and tensor.shape[1:] == (1, 8, 8)]
        return sum(tensor.numel() for tensor in tensors if len(tensor) <= 16)

    def weigh(self: MetricSet, samples: Tensor, labels: Tensor | None, *rest: Tensor) -> None:
        update(self, samples, labels, *rest)
        if labels is not None:
            alive.append(images())

    monkeypatch.setattr(MetricSet, "update", weigh)
    most = []
    for n in (32, 96):
        alive.clear()
        gc.collect()
        evaluation(run, [EULER], n, metrics="fid").run()
        assert len(alive) == n // 16
        most.append(max(alive))
    assert most[0] == most[1] > 0


@pytest.mark.parametrize("solver", [Euler(), Heun(), Dopri5(1e-3, 1e-3)], ids=["Euler", "Heun", "Dopri5"])
def test_the_same_seeds_are_the_same_images_at_any_batch_size(solver: Euler, run: RunLayout, tmp_path: Path) -> None:
    cell, samples = Cell(solver, 4, UniformGrid(), guidance=1.5), []
    for size in (5, 12, 40):
        keep = tmp_path / f"{size}.npz"
        evaluation(run, [cell], 40, batch_size=size, name=str(size), keep=keep).run()
        samples.append(np.load(keep)["images"].astype(int))
    for other in samples[1:]:
        assert np.abs(other - samples[0]).max() <= 1
    assert np.abs(samples[0][1:] - samples[0][:-1]).max() > 50, "other seeds, other images"


def test_the_exact_field_stands_beside_the_network(run: RunLayout) -> None:
    """Its rows need neither weights nor a checkpoint, and its images are training images."""
    grid = make_cells([Heun()], [UniformGrid()], [None], [10], [1.0], exact=True)
    real, network, exact = evaluation(run, grid).run()
    assert (network.setting["field"], exact.setting["field"]) == ("network", "exact")
    assert exact.setting["weights"] is exact.setting["checkpoint"] is None
    assert exact.values["fid_domain"] < 2 * real.values["fid_domain"] < network.values["fid_domain"]


def test_points_are_matched_with_as_many_reference_points(toy_run: RunLayout) -> None:
    done = evaluation(toy_run, [EULER], 50, metrics="w2,mmd")
    real, row = done.run()
    points = done.trained.generate(50, solver=Euler(), steps=3)
    assert row.measurement["features"] is row.measurement["uint8"] is None
    assert len(done.metrics.parts.points) == 240
    metric = done.metrics.metrics["w2"]
    metric.reset()
    metric.update(points)
    assert row.values["w2"] == pytest.approx(float(metric.compute()["w2"]), rel=1e-5)
    assert 0 < real.values["w2"] < 1


def test_what_does_not_fit_is_found_before_any_sampling(run: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmlab.errors import UserError
    from fmlab.solvers import ListGrid

    monkeypatch.setattr(Trained, "generate_batches", None)
    with pytest.raises(UserError, match="make 2 steps"):
        evaluation(run, [EULER, Cell(Euler(), 7, ListGrid([0.5]), Cosine())]).run()
