"""A run leaves as one file and comes back as the same model, without the run's folder; widths are chosen after it."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import arguments
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fmlab
from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.inference.exported import read_exported, write_exported
from fmlab.inference.load import load_module
from fmlab.records import RunLayout, read_metrics
from fmlab.solvers import Euler

FIT = Callable[..., RunLayout]
BARE = ("--fid.enabled=false", "--samples.enabled=false", "--floor.enabled=false")


def test_an_exported_run_is_the_same_model(fit: FIT, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bit for bit, exact field included; the file also carries shape, scores, measurement, setting and versions."""
    run = fit("--ema.decay=0.5", validate=4)
    before = fmlab.load(run.root)
    options = {"labels": [0, 3, 9], "guidance": 2.0, "steps": 3}
    expected, raw = before.generate(**options), fmlab.load(run.root, weights="raw").generate(**options)
    exact = before.exact_field(torch.tensor([3]))(torch.zeros(1, *before.shape), torch.tensor(0.5)).velocity
    file = tmp_path / "elsewhere" / "digits.safetensors"
    file.parent.mkdir()
    assert main(["export", str(run.root), "--to", str(file)]) == 0
    assert main(["export", str(run.root), "--to", str(tmp_path / "raw.safetensors"), "--weights", "raw"]) == 0
    scores = {name: value for name, value in read_metrics(run.metrics)[-1].items() if name.startswith("val/")}
    measured = json.loads((run.root / "measurement.json").read_text())
    shutil.rmtree(run.root)

    after = fmlab.load(file)
    assert torch.equal(after.generate(**options), expected)
    assert not torch.equal(expected, raw)
    assert torch.equal(fmlab.load(tmp_path / "raw.safetensors").generate(**options), raw)
    assert (after.shape, after.num_classes, after.origin.step) == ((1, 8, 8), 10, 4)
    assert repr(after.path) == repr(before.path)
    again = after.exact_field(torch.tensor([3]))(torch.zeros(1, *after.shape), torch.tensor(0.5)).velocity
    assert torch.equal(again, exact)

    with safe_open(file, framework="pt") as opened:
        record = json.loads(opened.metadata()["fmlab"])
    assert record["scores"] == scores
    assert {"measurement": record["measurement"], "setting": record["setting"]} == measured
    assert record["versions"]["torch"]
    assert record["config"]["trainer"]["max_steps"] == 4
    card = ModelCard.load(file.with_suffix(".md"))
    assert card.data.library_name == "fmlab"
    (fid,) = [one for one in card.data.eval_results if one.metric_type == "fid_domain"]
    assert (fid.metric_value, fid.dataset_name) == (scores["val/fid_domain"], "Digits")
    assert 'fmlab.load("digits.safetensors")' in card.text
    assert ModelCard.load(tmp_path / "raw.md").data.eval_results is None, "nobody measured these weights"

    capsys.readouterr()
    out = tmp_path / "samples.npz"
    command = [
        "sample",
        str(file),
        "--labels",
        "3",
        "--num_samples",
        "2",
        "--solver",
        "Euler",
        "--steps",
        "2",
        "--out",
        str(out),
    ]
    assert main(command) == 0
    assert [entry.name for entry in (file.parent / "digits" / "samples").iterdir()] == ["sample_Euler2_w1_seed0.png"]
    images = after.generate(labels=[3, 3], steps=2, solver=Euler())
    assert np.array_equal(np.load(out)["images"][..., 0], (images[:, 0] * 127.5 + 128).clip(0, 255).byte().numpy())


def test_a_file_that_cannot_be_loaded_is_refused_in_one_line(
    fit: FIT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(*BARE, steps=2)
    file = tmp_path / "a.safetensors"
    assert main(["export", str(run.root), "--to", str(file), "--checkpoint", "last"]) == 0
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    tensors, whole = load_file(file), file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    changed = metadata["fmlab"].replace('"width": 16', '"width": 32')
    other = {"mlp.weight": torch.zeros(2)}
    cases = [
        (whole[:-7], "cannot be read"),
        (bytes(flipped), "is damaged: its content is not what was written"),
        ((tensors, {**metadata, "fmlab": changed}), "is damaged"),
        ((other, {}), "was not made by fmlab export"),
        ((other, {"fmlab": "[1]"}), "was not made by fmlab export"),
    ]
    for content, cause in cases:
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            save_file(*content[:1], file, content[1])
        capsys.readouterr()
        assert main(["sample", str(file)]) == 2
        shown = capsys.readouterr().err
        assert cause in shown
        assert shown.startswith(f"error: {file}: ")
        assert len(shown.splitlines()) <= 2
    file.write_bytes(whole)
    network, record = fmlab.load(file).network, read_exported(file)[1]
    for argument, value, cause in (
        ("widht", 16, "model.network.widht: unknown key"),
        ("width", 32, "its weights do not fit its network: size mismatch"),
    ):
        model = deepcopy(record.model)
        model["init_args"]["network"]["init_args"][argument] = value
        write_exported(tmp_path / "b.safetensors", network, replace(record, model=model))
        assert main(["sample", str(tmp_path / "b.safetensors")]) == 2
        shown = capsys.readouterr().err
        assert cause in shown
        assert len(shown.splitlines()) <= 2
    for wrong in ({"checkpoint": "last"}, {"weights": "raw"}, {"ema_std": 0.1}):
        with pytest.raises(UserError, match="one set of weights"):
            fmlab.load(file, **wrong)
    for to, cause in (("a.pt", "is called .safetensors"), ("no/a.safetensors", "there is no folder")):
        assert main(["export", str(run.root), "--to", str(tmp_path / to)]) == 2
        assert cause in capsys.readouterr().err


def test_own_parts_are_found_beside_the_file_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_own_parts import CONFIG, DATA, NETWORK, PATH, SOLVER

    sources = {"my_net": NETWORK, "my_path": PATH, "my_solver": SOLVER, "my_data": DATA}
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "mine.yaml").write_text(CONFIG)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in sources:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert main(["fit", "--config", str(folder / "mine.yaml"), f"--run.dir={tmp_path / 'runs'}"]) == 0
    file = tmp_path / "out" / "mine.safetensors"
    file.parent.mkdir()
    assert main(["export", f"{tmp_path / 'runs' / 'mine'}", "--to", str(file), "--trust"]) == 0
    card = file.with_suffix(".md").read_text()
    assert "`my_net.MyNet`, `my_path.Cubic`" in card
    assert 'fmlab.load("mine.safetensors", trust=True)' in card
    expected = fmlab.load(file, trust=True).generate(4, steps=2)

    shutil.rmtree(tmp_path / "runs")
    shutil.move(folder, tmp_path / "hidden")
    sys.path[:] = [entry for entry in sys.path if str(tmp_path) not in entry]
    for name in sources:
        monkeypatch.delitem(sys.modules, name, raising=False)
    capsys.readouterr()
    assert main(["sample", str(file)]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main(["sample", str(file), "--trust"]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert "model.network: there is no module 'my_net' beside" in shown[0]
    for name in ("my_net", "my_path"):  # neither data nor solver are needed to sample
        shutil.copy(tmp_path / "hidden" / f"{name}.py", file.parent)
    assert torch.equal(fmlab.load(file, trust=True).generate(4, steps=2), expected)
    for name in sources:  # other tests have their own
        sys.modules.pop(name, None)


def test_a_width_is_chosen_after_training(fit: FIT, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Kept widths come back as they are in the checkpoint; others differ; both export."""
    run = fit(*BARE, "--power_ema.snapshots=3", "--power_ema.stds=[0.1,0.2]", steps=6)
    assert [file.name for file in sorted(run.power_averages.iterdir())] == [
        f"step_{step:08d}.safetensors" for step in (2, 4, 6)
    ]
    average = torch.load(run.last, weights_only=True)["callbacks"]["PowerAverages"]["averages"]["0.2"]
    for name, parameter in load_module(run, "last", ema_std=0.2).module.network.named_parameters():
        assert torch.allclose(parameter, average[name], rtol=0, atol=1e-7)
    options = {"labels": [1, 2], "steps": 2}
    weights = [fmlab.load(run.root, ema_std=std).generate(**options) for std in (0.2, 0.15)]
    weights.append(fmlab.load(run.root, weights="raw").generate(**options))
    assert all((a - b).abs().max() > 1e-6 for a, b in itertools.pairwise(weights))
    file = tmp_path / "wide.safetensors"
    assert main(["export", str(run.root), "--to", str(file), "--ema.std", "0.15"]) == 0
    assert torch.equal(fmlab.load(file).generate(**options), weights[1])
    assert "Weights: power-function average, std 0.15" in file.with_suffix(".md").read_text()
    assert main(["sample", str(run.root), "--ema.std", "0.15", "--num_samples", "10", "--steps", "2"]) == 0
    assert (run.samples / "sample_Heun2_w1_ema0.15_seed0.png").is_file()
    capsys.readouterr()
    for command, cause in ((["--weights", "raw"], "leave one of them out"), (["--checkpoint", "no"], "no checkpoint")):
        assert main(["sample", str(run.root), "--ema.std", "0.15", *command]) == 2
        assert cause in capsys.readouterr().err
    plain = fit(*BARE, steps=2)
    assert main(["sample", str(plain.root), "--ema.std", "0.1"]) == 2
    assert "kept no power-function averages" in capsys.readouterr().err
    assert main(["fit", "--resume", str(plain.root), "--power_ema.snapshots=2", "--trainer.max_steps=4"]) == 2
    assert "power averages begin with the run, which is at step 2" in capsys.readouterr().err


def test_a_run_begins_from_trained_weights(fit: FIT, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its first step moves the weights of the other run, and so do its averages; resuming needs them no more."""
    first = fit(*BARE, "--model.lr_scheduler=null", "--model.optimizer.lr=0.05", "--ema.enabled=false")
    file = tmp_path / "start.safetensors"
    assert main(["export", str(first.root), "--to", str(file), "--checkpoint", "last"]) == 0
    weights = load_file(file)
    frozen = ("--model.optimizer.lr=0", "--model.lr_scheduler=null", f"--initial.weights={file}")
    run = fit(*BARE, *frozen, steps=2)
    for which in ("averaged", "raw"):
        state = load_module(run, "last", which).module.network.state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights.items())
    file.unlink()
    assert main(["fit", "--resume", str(run.root), "--trainer.max_steps=4"]) == 0
    again = load_module(run, "last").module.network.state_dict()
    assert all(torch.equal(again[name], value) for name, value in weights.items())

    begin = f"--initial.weights={first.root}"
    for wrong, cause in (
        ("--model.network.width=32", "do not fit this network: size mismatch"),
        ("--model.network.time_scale=1", "compute something else in this network"),
    ):
        capsys.readouterr()
        command = arguments(tmp_path / "wrong", *BARE, begin, wrong, steps=2)
        assert main(["fit", *command]) == 2
        shown = capsys.readouterr().err
        assert f"initial.weights: {cause}" in shown
        assert len(shown.splitlines()) == 2


@pytest.mark.parametrize("name", ["a.safetensors", "a.md"])
def test_an_export_replaces_nothing_unless_it_is_asked_to(
    fit: FIT, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = fit(*BARE)
    (tmp_path / name).write_text("mine")
    argv = ["export", str(run.root), "--to", str(tmp_path / "a.safetensors")]
    assert main(argv) == 2
    assert f"{name} is there already" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
    assert main([*argv, "--overwrite"]) == 0
    assert fmlab.load(tmp_path / "a.safetensors").shape == (1, 8, 8)
