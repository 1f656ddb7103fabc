"""Every shipped experiment runs a few steps, made small; overrides reach every interpolation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from helpers.image_files import encoded, picture, write_cifar10, write_fashion_mnist, write_zip
from helpers.tiny_runs import EXPERIMENTS, fit_main, newest

import fmlab
from fmlab.config.compose import compose, resolve
from fmlab.records import read_metrics, read_status

FEW = [
    "--trainer.max_steps=2",
    "--trainer.val_check_interval=2",
    "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1",
    "--data.global_batch_size=4",
    "--fid.num_samples=4",
    "--fid.steps=2",
    "--fid.features=random",
    "--samples.columns=1",
    "--samples.steps=2",
    "--wandb.mode=disabled",
]
SMALL_UNET = ["--model.network.channels=8", "--model.network.channel_mult=[1,2]", "--model.network.blocks=1"]
SMALL_DIT = ["--model.network.width=16", "--model.network.depth=1", "--model.network.heads=2"]
SMALL = {
    "digits": SMALL_DIT,
    "classifier_digits": ["--model.network.trunk.width=16", "--model.network.trunk.depth=1"],
    "toy2d": ["--model.network.width=16", "--samples.points=20"],
    "dit_fashion": SMALL_DIT,
    "unet_fashion": SMALL_UNET,
    "score_fashion": SMALL_UNET,
    "dit_cifar": ["--model.network.size=null", *SMALL_DIT],
    "unet_cifar": [*SMALL_UNET, "--model.network.head_dim=8"],
    "cifar_smoke": SMALL_UNET,
    "circles_to_checkerboard": ["--model.network.width=16", "--samples.points=20"],
    "lab3_unet": SMALL_UNET,
    "lab3_dit": SMALL_DIT,
    "superresolve_fashion": [*SMALL_UNET, "--samples.columns=3"],
}
POINTS = ("toy2d", "circles_to_checkerboard")
CLASSIFIERS = ("classifier_digits",)


def test_every_experiment_is_listed_here() -> None:
    assert {file.stem for file in EXPERIMENTS.glob("*.yaml")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_experiment_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMLAB_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if "fashion" in name or "lab3" in name:
        write_fashion_mnist(tmp_path)
    elif name == "cifar_smoke":
        splits = [(split, label, i) for split in ("train", "test") for label in ("cat", "dog") for i in range(4)]
        files = {f"{split}/{label}/{i}.jpg": encoded(picture(i), ".jpg") for split, label, i in splits}
        write_zip(tmp_path / "cifar10-jpeg.zip", files)
    elif "cifar" in name:
        write_cifar10(tmp_path)
    few = [word for word in FEW if not (name in POINTS and ("columns" in word or "features" in word))]
    few = [word for word in few if not (name in CLASSIFIERS and word.startswith(("--fid", "--samples")))]
    argv = ["--config", str(EXPERIMENTS / f"{name}.yaml"), *few, *SMALL[name], f"--run.dir={tmp_path / 'runs'}"]
    assert fit_main(argv) == 0
    run = newest(tmp_path / "runs", name)
    assert read_status(run).state == "done"
    logged = {key for row in read_metrics(run.metrics) for key, value in row.items() if value not in (None, "")}
    assert {"train/loss", "val/loss"} <= logged
    if name in CLASSIFIERS:
        assert {"val/accuracy", *(f"val/accuracy_t_bin_{part}" for part in range(10))} <= logged
        return
    assert {"val/w2", "val/mmd"} <= logged if name in POINTS else {"val/fid_random", "val/kid_random"} <= logged
    assert len(list(run.samples.glob("*.png"))) >= 1
    trained = fmlab.load(run.root)
    assert trained.generate(3, steps=2).shape == (3, *trained.shape), "sampling knows the source"


def references(node: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    """Every `${key}` in a file, with the place that holds it."""
    if isinstance(node, dict):
        return [reference for key, value in node.items() for reference in references(value, (*path, key))]
    keys = re.findall(r"\$\{([a-z_][\w.]*)\}", node) if isinstance(node, str) else []
    return [(path, key) for key in keys]


@pytest.mark.parametrize("name", SMALL)
def test_an_override_reaches_every_interpolation(name: str) -> None:
    file = EXPERIMENTS / f"{name}.yaml"
    for path, key in references(yaml.safe_load(file.read_text())):
        resolved = resolve(compose(["--config", str(file), f"--{key}=1234567"]).raw)
        value: object = resolved
        for part in path:
            value = value[part]  # type: ignore[index]
        assert value == 1234567, f"{'.'.join(path)} does not follow --{key}"


@pytest.mark.parametrize("name", SMALL)
def test_an_experiment_fits_a_screen_and_says_what_it_costs(name: str) -> None:
    lines = (EXPERIMENTS / f"{name}.yaml").read_text().splitlines()
    header = " ".join(line for line in lines if line.startswith("#"))
    assert len(lines) <= 50
    assert lines[0].startswith(f"# fmlab fit --config experiments/{name}.yaml")
    assert "easured" in header, "as measured, or not measured here"


def test_the_sweep_file_speaks_the_command(tmp_path: Path) -> None:
    """Its parameters are flags of `fmlab fit`, and every value of each is accepted."""
    sweep = yaml.safe_load((EXPERIMENTS.parent / "sweeps" / "paths.yaml").read_text())
    assert sweep["command"][1:3] == ["fmlab", "fit"]
    file = EXPERIMENTS.parent / sweep["command"][4]
    for key, choice in sweep["parameters"].items():
        for value in choice["values"]:
            assert fit_main(["--config", str(file), f"--{key}={value}", "--print_config"]) == 0
