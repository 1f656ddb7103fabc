"""`fmlab sample` guided by other runs, and what a classifier's run is good for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import EXPERIMENTS, arguments, fit_main, newest

import fmlab
from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.fields import Guidance
from fmlab.inference.guides import RunWeights, resolve_guides
from fmlab.paths import VP
from fmlab.records import RunLayout

CLASSIFIER = [
    "--trainer.accelerator=cpu",
    "--trainer.precision=32-true",
    "--trainer.log_every_n_steps=1",
    "--trainer.max_steps=3",
    "--trainer.val_check_interval=3",
    "--model.network.trunk.width=16",
    "--model.network.trunk.depth=1",
    "--wandb.mode=disabled",
]


def classifier_words(folder: Path, *extra: str) -> list[str]:
    return ["--config", str(EXPERIMENTS / "classifier_digits.yaml"), *CLASSIFIER, f"--run.dir={folder}", *extra]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunLayout, RunLayout]]:
    """A tiny model that tells its classes apart, and a tiny classifier."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    quick = ["--model.lr_scheduler.warmup_steps=0", "--model.optimizer.lr=0.05", "--fid.enabled=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        patch.chdir(folder.parent)  # where runs/digits is the newest of that name
        assert fit_main(arguments(folder, *quick, steps=12, validate=12)) == 0
        assert fit_main(classifier_words(folder)) == 0
        yield newest(folder), newest(folder, "classifier_digits")


Runs = tuple[RunLayout, RunLayout]


def test_sampling_guided_in_every_way(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what it did and what it cost, names the picture after it, and draws other images for each."""
    run, classifier = runs
    command = ["sample", str(run.root), "--solver", "Euler", "--steps", "4", "--num_samples", "3", "--labels", "0-2"]

    def images(*extra: str) -> np.ndarray:
        assert main([*command, *extra, "--out", str(tmp_path / "a.npz"), "--overwrite"]) == 0
        return np.load(tmp_path / "a.npz")["images"].astype(int)

    plain = images("--guidance.scale", "3")
    assert "8 forwards a sample" in capsys.readouterr().out
    assert (run.samples / "sample_Euler4_w3_seed0.png").is_file()
    scale = ("--guidance.scale", "3")
    for extra, forwards, name in (
        (("--guidance.interval", "0.2,0.6"), 6, "interval0.2-0.6"),
        (("--guidance.rescale", "0.7", "--guidance.eta", "0"), 8, "rescale0.7_eta0"),
        (("--guidance.norm_threshold=0.01",), 8, "norm_threshold0.01"),
        (("--guidance.weak", "digits@last@raw"), 8, f"weak{run.id}@last@raw"),
        (("--guidance.classifier", str(classifier.root)), 8, f"classifier{classifier.id}@best"),
    ):
        assert (images(*scale, *extra) != plain).any()
        output = capsys.readouterr().out
        assert f"{forwards} forwards a sample" in output
        assert "guidance   scale 3.0, " in output
        assert (run.samples / f"sample_Euler4_w3_{name}_seed0.png").is_file()
    difference = images(*scale, "--guidance.weak", str(run.root)) - images()
    assert abs(difference).max() <= 1, "a network that guides itself changes nothing"


def test_mistakes_in_guidance_take_three_lines(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run, classifier = runs
    command = ["sample", str(run.root), "--steps", "2", "--num_samples", "3", "--labels", "0-2"]
    for bad, expected in (
        (["--guidance.interval", "0.9,0.2"], "guidance.interval: no interval of t in [0, 1]: 0.9, 0.2"),
        (["--guidance.scale", "1", "--guidance.rescale", "0.7"], "guidance.rescale: nothing is guided at scale 1"),
        (["--guidance.interval", "0.9"], "guidance.interval: expected 2 values with commas"),
        (["--guidance.rescale", "2"], "guidance.rescale: has to be at most 1"),
        (["--guidance.weak", "digitz"], "digits"),
        (["--guidance.weak", "digits@bset"], "best"),
        (["--guidance.weak", str(classifier.root)], "a NoisyClassifier generates nothing"),
        (["--guidance.classifier", "digits"], "this is not a run of NoisyClassifier"),
    ):
        capsys.readouterr()
        assert main([*command, "--guidance.scale", "3", *bad]) == 2
        message = capsys.readouterr().err.strip()
        assert expected in message
        assert len(message.splitlines()) <= 3, message
    assert main(["sample", str(classifier.root)]) == 2
    assert "NoisyClassifier, which generates nothing" in capsys.readouterr().err


def test_from_a_notebook(runs: Runs) -> None:
    """Everything at once; the exact field too; a record names runs by folder and checkpoint."""
    run, classifier = runs
    trained = fmlab.load(run.root)
    guidance = Guidance(2.0, interval=(0.3, 0.8), weak=str(run.root) + "@raw", classifier=str(classifier.root))
    assert trained.generate(3, guidance=guidance, steps=3).shape == (3, 1, 8, 8)
    field = trained.exact_field(torch.arange(3), Guidance(2.0, classifier=str(classifier.root)))
    assert torch.isfinite(field(torch.randn(3, 1, 8, 8), torch.tensor(0.5)).velocity).all()
    record = resolve_guides(Guidance(2.0, weak="digits@raw"))
    assert record.weak == f"{Path('runs') / 'digits' / run.id}@best@raw"
    assert resolve_guides(record) == record


def test_a_run_that_does_not_go_with_the_model_is_refused(runs: Runs) -> None:
    run, classifier = runs
    for changed, guidance, expected in (
        ({"path": VP()}, Guidance(2.0, classifier=str(classifier.root)), "guidance.classifier: was trained on CondOT"),
        ({"num_classes": 7}, Guidance(2.0, weak=str(run.root)), "knows 10 classes, not 7"),
        ({"shape": (1, 4, 4)}, Guidance(2.0, weak=str(run.root)), "works on shape"),
    ):
        trained = fmlab.load(run.root)
        vars(trained).update(changed)
        with pytest.raises(UserError, match=expected):
            trained.field(torch.arange(3), guidance)


def test_a_classifier_gives_labels_to_a_model_without_any(runs: Runs) -> None:
    """Its labels are chosen from, and the model is asked without them."""
    run, classifier = runs
    trained, seen = fmlab.load(run.root), []
    trained.num_classes = None
    trained.network.register_forward_pre_hook(lambda module, given: seen.append(len(given)))
    guidance = Guidance(2.0, classifier=str(classifier.root))
    assert trained.generate(labels=[7, 7, 3], guidance=guidance, steps=2).shape == (3, 1, 8, 8)
    assert set(seen) == {2}, "x and t, no label"
    with pytest.raises(UserError, match="labels are 0 to 9"):
        trained.generate(labels=[10], guidance=guidance)
    with pytest.raises(UserError, match="trained without labels"):
        trained.generate(labels=[7])


@pytest.mark.parametrize("section", ["samples", "fid"])
def test_callbacks_that_generate_refuse_a_classifier(
    section: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *classifier_words(tmp_path, f"--{section}={{}}")]) == 2
    output = capsys.readouterr().err.strip().splitlines()
    assert output[0].startswith(f"error: {section}: ")
    assert output[0].endswith("NoisyClassifier generates nothing")
    assert f"set {section}.enabled to false" in output[1]


def test_a_classifier_tells_its_accuracy_by_time(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """In tenths of [0, 1], each from every validation image: the mean is the accuracy."""
    assert main(["validate", str(runs[1].root)]) == 0
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("val/"))
    bins = [float(printed[f"val/accuracy_t_bin_{part}"]) for part in range(10)]
    assert float(printed["val/accuracy"]) == pytest.approx(sum(bins) / 10, abs=1e-4)
    assert all((share * 360) == pytest.approx(round(share * 360), abs=0.01) for share in bins)


def test_a_runs_weights_by_their_words(tmp_path: Path) -> None:
    """A folder whose name holds the sign is a folder."""
    assert RunWeights.parse("digits") == RunWeights("digits", "best", "averaged")
    assert RunWeights.parse("digits@last") == RunWeights("digits", "last", "averaged")
    assert RunWeights.parse("digits@raw") == RunWeights("digits", "best", "raw")
    assert RunWeights.parse("digits@raw@a.ckpt") == RunWeights("digits", "a.ckpt", "raw")
    assert RunWeights.parse(str(RunWeights("digits", "last", "raw"))) == RunWeights("digits", "last", "raw")
    (tmp_path / "me@home").mkdir()
    assert RunWeights.parse(str(tmp_path / "me@home")).run == str(tmp_path / "me@home")
