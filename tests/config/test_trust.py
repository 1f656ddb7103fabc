"""What a run may name without being trusted, and what is kept out of its records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.optim import Optimizer

from fmlab.__main__ import main
from fmlab.config.build import Context, build, plan_parameters
from fmlab.config.compose import resolve
from fmlab.config.options import Component
from fmlab.config.parts import build_axis, build_component
from fmlab.config.prepare import needs_trust, prepare
from fmlab.errors import UserError
from fmlab.paths import GaussianPath
from fmlab.records import RunLayout
from fmlab.records.secrets import values_without_secrets, without_secrets
from fmlab.solvers import Solver

HARMLESS = [
    ("VP", GaussianPath),
    ("fmlab.paths.schedules.CondOT", GaussianPath),
    ({"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 2}}, nn.Module),
    ({"class_path": "torch.nn.Sequential", "init_args": {}}, nn.Module),
    ({"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}, Callable[[Iterable], Optimizer]),
    ({"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": "00:01:00:00"}}, Callback),
    ("LearningRateMonitor", Callback),
    ("velocity", str),
    ("photos.zip", str),
]

JSON_TEXT = '{"class_path": "evil.E"}'
SYMBOLIC_TRACE = {
    "class_path": "torch.fx.symbolic_trace",
    "init_args": {"root": "torch.os.popen", "concrete_args": {"cmd": "touch ran", "mode": "r", "buffering": -1}},
}
LAMBDA = {"class_path": "LambdaCallback", "init_args": {"on_fit_start": "evil.run"}}

HOSTILE = [
    ("evil.E", nn.Module),
    ({"class_path": "evil.E"}, nn.Module),
    (SYMBOLIC_TRACE, nn.Module),
    ("torch.os.popen", nn.Module),
    ("torchvision.ops.MLP", nn.Module),
    ("torch_evil.Net", nn.Module),
    ("timm.models.create_model", nn.Module),
    ("fmlab.paths.gaussian_path", GaussianPath),
    ("fmlab.training.generative_module.GenerativeModule.load_from_checkpoint", LightningModule),
    (JSON_TEXT, nn.Module),
    ({"class_path": JSON_TEXT}, nn.Module),
    ("evil.json", nn.Module),
    ({"class_path": "evil.json"}, nn.Module),
    (LAMBDA, Callback),
    ({"class_path": "InitialWeights", "init_args": {"weights": "evil.safetensors", "trust": True}}, Callback),
    ({"class_path": "fmlab.metrics.network.OwnFeatures", "init_args": {"name": "evil:E"}}, nn.Module),
    (["evil.E"], list[nn.Module]),
    ({"class_path": "torch.nn.Sequential", "init_args": {"modules": ["evil.E"]}}, nn.Module),
    ("fmlab.training.generative_module.torch.os.system", nn.Module),
    ({**LAMBDA, "class_path": "lightning.pytorch.callbacks.LambdaCallback"}, Callback),
    ({"class_path": "ModelCheckpoint", "init_args": {"dirpath": "/tmp"}}, Callback),
    ({"class_path": "CSVLogger", "init_args": {"save_dir": "/tmp"}}, Logger),
    ({"class_path": "fmlab.training.loggers.RunCsv", "init_args": {"layout": {"root": "/tmp"}}}, Logger),
    ("os.system", Callable[[Tensor], Tensor]),
    ("os.system", Callable),
    ({"class_path": "LambdaLR", "init_args": {"lr_lambda": "os.system"}}, Callable[[Optimizer], Any]),
    ({"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "ran"]}}, Any),
]


@pytest.mark.parametrize(("node", "hint"), HARMLESS, ids=str)
def test_the_packages_own_classes_and_the_listed_ones_need_no_trust(node: Any, hint: Any) -> None:
    build(node, hint, "key", trust=False)


@pytest.mark.parametrize(("node", "hint"), HOSTILE, ids=str)
def test_whatever_else_names_code_is_refused_before_it_is_imported(
    node: Any, hint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("evil.py").write_text("open('ran', 'w')\nfrom torch.nn import Identity as E\nrun = print\n")
    Path("evil.json").write_text(JSON_TEXT)
    with pytest.raises(UserError) as caught:
        build(node, hint, "key", trust=False)
    assert str(caught.value.key).startswith("key")
    assert "evil" not in sys.modules
    assert not Path("ran").exists()


def test_only_listed_services_of_the_trainer_need_no_trust() -> None:
    def plans(**arguments: Any) -> None:
        plan_parameters(Trainer, arguments, "trainer", Context(trust=False))

    plans(callbacks=["Timer", "LearningRateMonitor"], profiler="simple", strategy="ddp")
    for name, value in (
        ("callbacks", ["LambdaCallback"]),
        ("profiler", {"class_path": "AdvancedProfiler"}),
        ("strategy", {"class_path": "lightning.pytorch.strategies.DDPStrategy"}),
        ("plugins", [{"class_path": "lightning.pytorch.plugins.io.TorchCheckpointIO"}]),
    ):
        with pytest.raises(UserError) as caught:
            plans(**{name: value})
        assert name in str(caught.value.key)


def test_another_runs_environment_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    for text in ("${oc.env:HF_TOKEN}", "${oc.decode:'1'}", "${oc.${run.dir}:HF_TOKEN}", "a\\${oc.env:HF_TOKEN}"):
        with pytest.raises(UserError, match="--trust"):
            resolve({"run": {"dir": "env", "tags": [text]}}, trust=False)
    assert resolve({"a": 1, "b": {"c": "${a}", "d": "${..a}-${.c}"}}, trust=False)["b"] == {"c": 1, "d": "1-1"}


def test_a_run_keeps_what_its_environment_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed without trust takes the value of the time; what is typed now stands over it."""
    monkeypatch.setenv("STEPS", "7")
    first = prepare(["--config=points.yaml", "--fid.steps=${oc.env:STEPS}"])
    Path("raw.yaml").write_text(yaml.safe_dump(first.raw))
    Path("config.yaml").write_text(first.yaml())
    monkeypatch.setenv("STEPS", "9")
    resumed = prepare(["--config=raw.yaml"], trust=False, record=Path("config.yaml"))
    assert resumed.config["fid"]["steps"] == first.config["fid"]["steps"] == 7
    assert prepare(["--config=raw.yaml", "--fid.steps=3"], False, Path("config.yaml")).config["fid"]["steps"] == 3
    assert resumed.import_folders == []


def test_what_a_submitted_run_needs_trust_for(folder: Path) -> None:
    assert not needs_trust(prepare(["--config=points.yaml"]).config)
    argv = ["--trainer.callbacks=[{class_path: ModelCheckpoint}]"]
    assert needs_trust(prepare(["--config=points.yaml", *argv]).config)


@pytest.mark.parametrize(
    ("key", "node"),
    [
        ("network", "evil.E"),
        ("network", SYMBOLIC_TRACE),
        ("network", {"class_path": JSON_TEXT}),
        ("callbacks", [LAMBDA]),
        ("solver", "evil.E"),
        ("features", "evil:E"),
        ("initial", {"weights": "evil.safetensors", "trust": True}),
    ],
    ids=["short form", "function", "JSON text", "callback", "solver", "features", "trust"],
)
def test_no_verb_runs_code_of_another_run(
    key: str, node: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not from the working directory, not from the run's folder, and not where the run's facts were deleted."""
    argv = ["--wandb.mode=disabled", "--fid.num_samples=4", "--checkpoint.every_n_steps=2"]
    assert main(["fit", "--config=points.yaml", *argv]) == 0
    (run,) = [RunLayout(path) for path in Path("runs/points").iterdir()]
    for file in (run.config, run.raw_config):
        content = yaml.safe_load(file.read_text())
        name = {"callbacks": "trainer", "solver": "fid", "features": "fid"}.get(key)
        section = content if key == "initial" else content[name] if name else content["model"]["init_args"]
        section[key] = node
        file.write_text(yaml.safe_dump(content))
    run.meta.unlink()
    for directory in (Path(), run.root):
        (directory / "evil.py").write_text("open('ran', 'w')\nfrom torch.nn import Identity as E\nrun = print\n")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(folder))])
    verbs = [["validate"], ["fit", "--resume"]]
    verbs += [["sample"], ["evaluate"], ["diagnose"], ["export"]] if key == "network" else []
    verbs += [["diagnose"]] if key in ("solver", "features") else []
    for verb in verbs:
        capsys.readouterr()
        rest = ["--to=out.safetensors"] if verb == ["export"] else []
        assert main([*verb, str(run.root), *rest]) == 2, verb
        assert len(capsys.readouterr().err.splitlines()) <= 3
        assert not Path("ran").exists()
        assert "evil" not in sys.modules


def test_secrets_are_left_out() -> None:
    environment = {
        "WANDB_API_KEY": "k" * 40,
        "HF_TOKEN": "hf_abcdefgh",
        "MY_PASSWORD": "short",
        "HOME": "/home/me",
    }
    text_with_secrets = f"tags: [{'k' * 40}] at /home/me with hf_abcdefgh, short"
    assert (
        without_secrets(text_with_secrets, environment) == "tags: [<WANDB_API_KEY>] at /home/me with <HF_TOKEN>, short"
    )
    for text, hidden in (
        ("--x.api_key=abc,d", "--x.api_key=<hidden>,d"),
        ('{"access_token": "abc"}', '{"access_token": "<hidden>"}'),
        ("password: abc", "password: <hidden>"),
        ("git https://me:abc@host/x", "git https://me:<hidden>@host/x"),
    ):
        assert without_secrets(text, {}) == hidden
    for plain in ("num_tokens: 256", "key: value", "seed_everything: 0", "http://host:80/a@b"):
        assert without_secrets(plain, {}) == plain
    assert values_without_secrets({"a": ["api_key=x", 3], "b": None}) == {"a": ["api_key=<hidden>", 3], "b": None}


def test_a_part_that_is_typed_may_lie_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_typed_solver.py").write_text("from fmlab.solvers import Euler\n\n\nclass Mine(Euler):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert type(build_component("solver", Component("my_typed_solver.Mine"), Solver)).__name__ == "Mine"
    assert type(build_axis("solver", Component("my_typed_solver.Mine,Heun"), Solver)[0]).__name__ == "Mine"
