from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmlab.config.compose import compose, resolve
from fmlab.errors import UserError


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return f"--config={name}"


def arguments(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["init_args"]


def test_two_files_merge_by_key_callbacks_included(folder: Path) -> None:
    second = write("b.yaml", "fid: {steps: 5}\ncheckpoint: {every_n_steps: 2}\ntrainer: {max_steps: 9}\n")
    config = compose(["--config", "points.yaml", second]).raw
    assert config["fid"] == {"num_samples": 32, "steps": 5}
    assert config["ema"] == {"decay": 0.9}
    assert config["checkpoint"] == {"every_n_steps": 2}
    assert config["trainer"] == {"max_steps": 9, "accelerator": "cpu"}


def test_lists_and_nulls_of_a_later_file_replace(folder: Path) -> None:
    first, second = (
        write("a.yaml", "fid: {x: [1, 2], y: {z: 1}}\nema: {decay: 1}"),
        write("b.yaml", "fid: {x: [3], y: null}"),
    )
    assert compose([first, second]).raw == {"fid": {"x": [3], "y": None}, "ema": {"decay": 1}}


def test_an_override_reaches_every_interpolation(folder: Path) -> None:
    second = write("b.yaml", "fid: {num_samples: '${data.train_size}', steps: '${..trainer.max_steps}'}")
    composed = compose(["--config=points.yaml", second, "--trainer.max_steps=7", "--data.train_size=128"])
    assert composed.raw["fid"]["num_samples"] == "${data.train_size}"
    config = resolve(composed.raw)
    assert config["fid"] == {"num_samples": 128, "steps": 7}
    assert arguments(config)["lr_scheduler"]["init_args"]["total_steps"] == 7


def test_references_may_or_may_not_say_init_args(folder: Path) -> None:
    overrides = ["--fid.steps=${data.train_size}", "--fid.num_samples=${data.init_args.train_size}"]
    overrides += ["--ema.decay=${model.path.beta_min}"]
    config = resolve(compose(["--config=points.yaml", *overrides]).raw)
    assert config["fid"] == {"steps": 64, "num_samples": 64}
    assert config["ema"]["decay"] == 0.2


def test_environment_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["--config=points.yaml", "--run.dir=${oc.env:PLACE,runs}"]
    assert resolve(compose(argv).raw)["run"]["dir"] == "runs"
    monkeypatch.setenv("PLACE", "/there")
    assert resolve(compose(argv).raw)["run"]["dir"] == "/there"


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("${data.trian_size}", "'data.trian_size' not found"),
        ("${oc.env:NO_SUCH_VARIABLE}", "'NO_SUCH_VARIABLE' not found"),
        ("${fid.steps}", "ecursive"),
        ("${data.", "well formed"),
    ],
)
def test_what_cannot_be_resolved_names_the_key(folder: Path, value: str, cause: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(compose(["--config=points.yaml", f"--fid.steps={value}"]).raw)
    assert caught.value.key == "fid.steps"
    assert cause in caught.value.message
    if "trian" in value:
        assert "data.train_size" in str(caught.value.hint)


def test_an_override_descends_into_init_args_or_says_so(folder: Path) -> None:
    for key in ("model.network.width", "model.init_args.network.init_args.width", "model.network.init_args.width"):
        config = compose(["--config=points.yaml", f"--{key}=64"]).raw
        assert arguments(config)["network"] == {"class_path": "MLP", "init_args": {"width": 64, "depth": 1}}


def test_a_bare_class_name_takes_arguments(folder: Path) -> None:
    first = write("a.yaml", "model: {class_path: FlowMatching, init_args: {path: VP}}")
    config = compose([first, "--model.path.beta_max=3"]).raw
    assert arguments(config)["path"] == {"class_path": "VP", "init_args": {"beta_max": 3}}
    config = compose([first, "--model.path=Cosine"]).raw
    assert arguments(config)["path"] == "Cosine"
    config = compose([first, write("b.yaml", "model: {init_args: {path: {init_args: {beta_max: 4}}}}")]).raw
    assert arguments(config)["path"] == {"class_path": "VP", "init_args": {"beta_max": 4}}


def test_a_swap_keeps_what_the_new_class_takes_and_notes_what_it_drops(folder: Path) -> None:
    composed = compose(["--config=points.yaml", "--model.network=DiT"])
    assert arguments(composed.raw)["network"] == {"class_path": "DiT", "init_args": {"width": 16, "depth": 1}}
    assert composed.notes == []
    composed = compose(["--config=points.yaml", "--model.path=Cosine"])
    assert arguments(composed.raw)["path"] == {"class_path": "Cosine", "init_args": {}}
    assert composed.notes == ["model.path: Cosine takes no beta_min, beta_max; dropped with VP"]


def test_a_swap_of_the_model_keeps_its_parts(folder: Path) -> None:
    composed = compose(["--config=points.yaml", "--model=ScoreMatching"])
    assert composed.raw["model"]["class_path"] == "ScoreMatching"
    assert set(arguments(composed.raw)) == {"path", "network", "optimizer", "lr_scheduler"}
    assert composed.notes == []


def test_a_swap_among_torch_optimizers(folder: Path) -> None:
    second = ["--model.optimizer.betas=[0.9, 0.99]", "--model.optimizer=SGD", "--model.optimizer.momentum=0.9"]
    composed = compose(["--config=points.yaml", *second])
    assert arguments(composed.raw)["optimizer"]["init_args"] == {"lr": 1e-3, "betas": [0.9, 0.99], "momentum": 0.9}
    composed = compose(["--config=points.yaml", write("b.yaml", OPTIMIZER), "--model.optimizer=SGD"])
    assert arguments(composed.raw)["optimizer"] == {"class_path": "SGD", "init_args": {"lr": 1e-3}}
    assert composed.notes == ["model.optimizer: SGD takes no betas; dropped with AdamW"]


OPTIMIZER = "model: {init_args: {optimizer: {init_args: {betas: [0.9, 0.99]}}}}"


def test_a_later_file_swaps_as_an_override_does(folder: Path) -> None:
    text = "model: {init_args: {network: {class_path: UNet, init_args: {channels: 8}}, path: CondOT}}"
    composed = compose(["--config=points.yaml", write("b.yaml", text)])
    assert arguments(composed.raw)["network"] == {"class_path": "UNet", "init_args": {"channels": 8}}
    assert arguments(composed.raw)["path"] == {"class_path": "CondOT", "init_args": {}}
    assert len(composed.notes) == 2


def test_naming_the_same_class_in_full_is_no_swap(folder: Path) -> None:
    composed = compose(["--config=points.yaml", "--model.path=fmlab.paths.VP", "--model.network=MLP"])
    assert arguments(composed.raw)["path"]["init_args"] == {"beta_min": 0.2, "beta_max": 12}
    assert arguments(composed.raw)["network"]["init_args"] == {"width": 16, "depth": 1}


def test_the_order_of_a_class_and_its_arguments_does_not_matter(folder: Path) -> None:
    argv = ["--model.path=Polynomial", "--model.path.degree=3"]
    forward, backward = compose(["-c", "points.yaml", *argv]), compose(["-c", "points.yaml", *argv[::-1]])
    assert forward.raw == backward.raw
    assert arguments(forward.raw)["path"] == {"class_path": "Polynomial", "init_args": {"degree": 3}}


def test_of_two_overrides_of_one_key_the_later_holds(folder: Path) -> None:
    assert compose(["-c", "points.yaml", "--fid.steps=1", "--fid.steps=2"]).raw["fid"]["steps"] == 2


def test_what_sweep_agents_write(folder: Path) -> None:
    argv = ["--model.lr_scheduler=None", "--fid.enabled=True", "--model.optimizer.lr=1e-05"]
    argv += ["--model.optimizer={'weight_decay': 0.1}"]
    config = compose(["--config=points.yaml", *argv]).raw
    assert arguments(config)["lr_scheduler"] is None
    assert config["fid"]["enabled"] is True
    assert arguments(config)["optimizer"] == {"class_path": "AdamW", "init_args": {"lr": 1e-5, "weight_decay": 0.1}}


def test_a_section_may_be_taken_out_and_put_back(folder: Path) -> None:
    assert compose(["--config=points.yaml", "--fid=null"]).raw["fid"] is None
    assert compose(["--config=points.yaml", "--fid=null", "--fid.steps=3"]).raw["fid"] == {"steps": 3}


def test_an_interpolated_part_cannot_be_changed_in_part(folder: Path) -> None:
    argv = ["--config=points.yaml", "--samples=${fid}", "--samples.steps=3"]
    with pytest.raises(UserError, match="cannot be changed in part") as caught:
        compose(argv)
    assert caught.value.key == "samples"
    with pytest.raises(UserError, match="is 4, which has no part 'x'"):
        compose(["--config=points.yaml", "--trainer.max_steps.x=3"])


def test_what_was_typed_is_kept(folder: Path) -> None:
    argv = ["--config=points.yaml", "--fid.steps=2"]
    composed = compose(argv)
    assert composed.typed == argv
    assert composed.files == [Path("points.yaml")]
