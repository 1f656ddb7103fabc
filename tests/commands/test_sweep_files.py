"""The sweep files that ship are right, and what is wrong with another is told before a run is wasted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from helpers.tiny_runs import fmlab
from PIL import Image

from fmlab.__main__ import main
from fmlab.commands.sweep import check_evaluate
from fmlab.launch.sweep.check import check_fit, check_sweep
from fmlab.launch.sweep.space import grid
from fmlab.launch.sweep.sweep_file import read_sweep

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
OF_RUNS = ("guidance", "solvers")
FIT = """\
program: fmlab
method: METHOD
metric: {name: val/w2, goal: minimize}
parameters:
  PARAMETERS
command: ["${env}", fmlab, fit, --config, points.yaml, "${args}"]
"""


def write(parameters: str, method: str = "grid", **changes: str) -> str:
    """A sweep file over `points.yaml`, with some words of it replaced."""
    text = FIT.replace("METHOD", method).replace("PARAMETERS", parameters)
    for old, new in changes.items():
        assert WORDS[old] in text
        text = text.replace(WORDS[old], new)
    Path("sweep.yaml").write_text(text)
    return text


WORDS = {
    "method": "method:",
    "metric": "metric: {name: val/w2, goal: minimize}\n",
    "name": "val/w2",
    "program": "program: fmlab\n",
    "args": ', "${args}"',
    "env": '"${env}"',
}

TRAPS = {
    "a number that is a text": (
        {"parameters": "model.optimizer.lr: {values: [0.001, 1e-4]}"},
        "sweep.yaml: parameters.model.optimizer.lr.values: 1e-4 is a text in YAML 1.1, which W&B reads",
        "write 0.0001",
    ),
    "the same without a sign": (
        {"parameters": "model.optimizer.lr: {max: 1.0e2, min: 0.1}", "method": "random"},
        "sweep.yaml: parameters.model.optimizer.lr.max: 1.0e2 is a text in YAML 1.1, which W&B reads",
        "write 100.0",
    ),
    "None": (
        {"parameters": "model.num_classes: {values: [None, 3]}"},
        "sweep.yaml: parameters.model.num_classes.values: None is a text in YAML 1.1, which W&B reads",
        "write null",
    ),
    "a word that is a boolean": (
        {"parameters": "ema.enabled: {values: [on, off]}"},
        "sweep.yaml: parameters.ema.enabled.values: on is true in YAML 1.1, which W&B reads",
        'write true, or "on" in quotes for the word',
    ),
    "a number to base 60": (
        {"parameters": "model.optimizer.lr: {values: [1:30]}"},
        "sweep.yaml: parameters.model.optimizer.lr.values: 1:30 is 90 in YAML 1.1, which W&B reads",
        'write 90, or "1:30" in quotes for the word',
    ),
    "no trials": (
        {"parameters": "model.path: {value: VP}", "metric": "metric: {name: val/w2}\nrun_cap: 0\n"},
        "sweep.yaml: run_cap: has to be at least 1, got 0",
        "",
    ),
    "an early end without a band": (
        {
            "parameters": "model.path: {value: VP}",
            "metric": "metric: {name: val/w2}\nearly_terminate: {type: hyperband}\n",
        },
        "sweep.yaml: early_terminate: needs min_iter, or max_iter and s: at least 1 report",
        "early_terminate: {type: hyperband, min_iter: 2, eta: 3}",
    ),
    "an early end without its first band": (
        {
            "parameters": "model.path: {value: VP}",
            "metric": "metric: {name: val/w2}\nearly_terminate: {type: hyperband, max_iter: 27}\n",
        },
        "sweep.yaml: early_terminate: needs min_iter, or max_iter and s: at least 1 report",
        "early_terminate: {type: hyperband, min_iter: 2, eta: 3}",
    ),
    "an unknown early end": (
        {
            "parameters": "model.path: {value: VP}",
            "metric": "metric: {name: val/w2}\nearly_terminate: {type: hyper}\n",
        },
        'sweep.yaml: early_terminate.type: expected hyperband, got "hyper"',
        "did you mean hyperband?",
    ),
    "a key of the class alone": (
        {"parameters": "model.path: {value: VP}", "metric": "metric: {name: val/w2}\nfile: other.yaml\n"},
        "sweep.yaml: file: unknown key",
        "",
    ),
    "a date": (
        {"parameters": "run.notes: {value: 2026-01-01}"},
        "sweep.yaml: parameters.run.notes.value: 2026-01-01 is a date in YAML 1.1, which W&B reads",
        'write "2026-01-01" in quotes',
    ),
    "a key that is a boolean": (
        {"parameters": "on: {value: 1}"},
        "sweep.yaml: parameters.on: on is true in YAML 1.1, which W&B reads",
        'write true, or "on" in quotes for the word',
    ),
    "nested parameters": (
        {"parameters": "model: {parameters: {path: {values: [CondOT]}}}"},
        "sweep.yaml: model: is nested; it would arrive as one flag, --model={...}",
        "write flat keys: model.path",
    ),
    "nested without the word": (
        {"parameters": "model: {path: {values: [CondOT]}}"},
        "sweep.yaml: model: is nested; it would arrive as one flag, --model={...}",
        "write flat keys: model.path",
    ),
    "a list without a form": (
        {"parameters": "model.path: [CondOT, VP]"},
        "sweep.yaml: model.path: needs value, values, or min and max",
        "write model.path: {values: [CondOT, VP]}",
    ),
    "a grid over a range": (
        {"parameters": "model.optimizer.lr: {min: 0.001, max: 0.1}"},
        "sweep.yaml: model.optimizer.lr: is a range, which a grid cannot list",
        "write values: [...], or method: random",
    ),
    "exponents for values": (
        {"parameters": "model.optimizer.lr: {distribution: log_uniform, min: 0.001, max: 0.1}", "method": "random"},
        "sweep.yaml: model.optimizer.lr: log_uniform takes exponents of e",
        "for values between 0.001 and 0.1: distribution: log_uniform_values",
    ),
    "whole and broken bounds": (
        {"parameters": "model.optimizer.lr: {min: 0, max: 0.1}", "method": "bayes"},
        "sweep.yaml: model.optimizer.lr: min 0 and max 0.1 are of different kinds",
        "both whole, or both with a point: min: 1.0, max: 2.0",
    ),
    "a misspelt key of the file": (
        {"parameters": "model.path: {value: VP}", "metric": "metrik: {name: val/w2}\n"},
        "sweep.yaml: metrik: unknown key, Sweep takes no 'metrik'",
        "did you mean metric?",
    ),
    "a misspelt form": (
        {"parameters": "model.path: {valeus: [VP]}"},
        "sweep.yaml: model.path: is nested; it would arrive as one flag, --model.path={...}",
        "write flat keys: model.path.valeus",
    ),
    "no metric for bayes": (
        {"parameters": "model.path: {value: VP}", "method": "bayes", "metric": ""},
        "sweep.yaml: metric: names no metric, which bayes needs",
        "metric: {name: val/fid_domain, goal: minimize}",
    ),
    "no program": (
        {"parameters": "model.path: {value: VP}", "program": ""},
        "sweep.yaml: program: is missing; W&B's agents skip every trial without it",
        "fmlab",
    ),
    "parameters that never arrive": (
        {"parameters": "model.path: {value: VP}", "args": ""},
        "sweep.yaml: command: has no ${args}: the parameters would not arrive",
        'command: ["${env}", fmlab, fit, --config, experiments/digits.yaml, "${args}"]',
    ),
    "an unknown macro": (
        {"parameters": "model.path: {value: VP}", "env": '"${envs}"'},
        "sweep.yaml: command: ${envs} is not filled in",
        "did you mean ${env}?",
    ),
    "a misspelt flag": (
        {"parameters": "model.network.widht: {values: [8, 16]}"},
        "sweep.yaml: model.network.widht: unknown key, MLP takes no 'widht'",
        "did you mean width?",
    ),
    "a wrong value, and not the first": (
        {"parameters": "model.path: {values: [VP, CondTO]}"},
        "sweep.yaml: model.path: no ProbabilityPath is called 'CondTO'",
        "did you mean CondOT?",
    ),
    "a metric that is never logged": (
        {"parameters": "model.path: {value: VP}", "name": "val/w"},
        "sweep.yaml: metric: val/w is never logged by this command",
        "did you mean val/w2 or val/mmd?",
    ),
    "images' metric for points": (
        {"parameters": "model.path: {value: VP}", "name": "val/fid_domain"},
        "sweep.yaml: metric: val/fid_domain is never logged by this command",
        "choose from: train/grad_norm, train/loss, train/lr, val/loss, val/mmd, val/w2",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_told_in_at_most_three_lines(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes, cause, hint = TRAPS[name]
    write(**changes)
    assert main(["sweep", "sweep.yaml"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert lines == [f"error: {cause}", *([f"  {hint}"] if hint else [])]
    assert not Path("runs").exists(), "nothing was begun"


def test_the_traps_are_real(folder: Path) -> None:
    """PyYAML, which `wandb sweep` reads files with, takes the words as the messages say."""
    read = yaml.safe_load("[1e-4, 1.0e2, None, on, 1.0e-4, 1.0e+2, null]")
    assert [type(value) for value in read] == [str, str, str, bool, float, float, type(None)]


def test_what_is_right_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = "seed_everything: {distribution: int_uniform, min: 0, max: 2}"
    write(f"model.optimizer.lr: {{values: [1.0e-4, 0.001]}}\n  {seeds}")
    assert main(["sweep", "sweep.yaml", "--check"]) == 0
    assert capsys.readouterr().out == "sweep.yaml: 6 points, 3 command lines checked, nothing wrong\n"


@pytest.mark.parametrize(
    ("metric", "argv", "logged"),
    [
        ("val/fid_domain", [], True),
        ("val/fid_random", [], False),
        ("val/fid_random", ["--fid.features=random"], True),
        ("val/fid_domain", ["--fid.features=random"], False),
        ("val/fid", ["--fid.features=inception"], True),
        ("val/fid_domain", ["--fid.enabled=false"], False),
        ("perf/memory_gib", [], True),
        ("perf/memory_gib", ["--throughput.enabled=false"], False),
        ("train/excess", [], True),
        ("train/skipped_steps", [], False),
        ("train/skipped_steps", ["--nonfinite.action=skip"], True),
        ("val/accuracy", [], False),
    ],
)
def test_a_training_is_asked_which_metrics_it_logs(metric: str, argv: list[str], logged: bool) -> None:
    metrics = check_fit(["--config", str(ROOT / "experiments" / "digits.yaml"), *argv])
    assert metrics is not None
    assert (metric in metrics) == logged


def test_parts_of_the_users_own_may_log_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "swept_parts.py").write_text(
        "import lightning.pytorch as pl\nfrom fmlab.data import Digits\nfrom fmlab.training import FlowMatching\n\n\n"
        "class Model(FlowMatching): ...\n\n\nclass Quiet(pl.Callback): ...\n\n\n"
        "class Data(pl.LightningDataModule):\n    def __init__(self) -> None:\n        super().__init__()\n"
        "        self.shape, self.num_classes = Digits.shape, None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    digits = ["--config", str(ROOT / "experiments" / "digits.yaml")]
    callbacks = "--trainer.callbacks=[{class_path: swept_parts.Quiet}]"
    for argv in (["--model=swept_parts.Model"], [callbacks], ["--data=swept_parts.Data", "--model.label_dropout=0"]):
        assert check_fit([*digits, *argv]) is None


def test_images_without_labels_have_random_features(tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"{index}.png")
    data = ["--data=ImageFolder", f"--data.path={tmp_path}", "--data.size=8", "--data.channels=1"]
    plain = ["--model.label_dropout=0", "--fid.guidance_scale=1", "--samples.guidance_scales=[1.0]"]
    metrics = check_fit(["--config", str(ROOT / "experiments" / "digits.yaml"), *data, *plain])
    assert metrics is not None
    assert {"val/fid_random", "val/kid_random"} <= metrics
    assert "val/fid_domain" not in metrics


def test_a_missing_file_gets_the_nearest(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["sweep", "sweeps/path.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: sweeps/path.yaml: there is no such sweep file", "  did you mean sweeps/paths.yaml?"]


def test_the_files_that_ship() -> None:
    names = {"paths", "networks", "predictions", "couplings", "learning_rate", "solvers", "guidance"}
    assert {file.stem for file in FILES} == names
    for file in FILES:
        sweep = read_sweep(file)
        assert sweep.name == file.stem
        assert file.read_text().startswith(f"# fmlab sweep sweeps/{file.name} ")
        folder = f"--run.name={file.stem}"
        assert (folder in sweep.command) == (file.stem not in OF_RUNS), "here and there runs lie in runs/<name>"
    assert len(grid(read_sweep(ROOT / "sweeps" / "paths.yaml").parameters)) == 4 * 5


@pytest.mark.parametrize("file", [file for file in FILES if file.stem not in OF_RUNS], ids=lambda file: file.stem)
def test_its_command_takes_its_parameters(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check_sweep(read_sweep(file), {"fit": check_fit, "evaluate": check_evaluate}) >= 3


@pytest.mark.parametrize("name", OF_RUNS)
def test_an_evaluation_needs_its_run_and_right_options(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "sweeps" / f"{name}.yaml", "sweep.yaml")
    assert main(["sweep", "sweep.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: sweep.yaml: digits: there is no such run\n")
    run = Path("runs/digits/20260101-000000-abcd")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    assert main(["sweep", "sweep.yaml", "--check"]) == 0
    text = Path("sweep.yaml").read_text()
    for old, new, cause in (
        ("evaluate/fid_domain", "val/fid_domain", "metric: val/fid_domain is never logged by this command"),
        ("{value: digits}", "{value: digits}\n  stepz: {value: 3}", "--stepz: fmlab evaluate has no such option"),
    ):
        Path("sweep.yaml").write_text(text.replace(old, new))
        capsys.readouterr()
        assert main(["sweep", "sweep.yaml"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == f"error: sweep.yaml: {cause}"
        assert len(lines) <= 3


def test_an_evaluation_is_checked_by_a_process_that_imported_nothing(folder: Path) -> None:
    """The check is the first import of several rooms, which must not need one another's order."""
    run = Path("runs/digits/20260101-000000-abcd")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    done = fmlab("sweep", str(ROOT / "sweeps" / "solvers.yaml"), "--check", cwd=Path.cwd(), timeout=300)
    assert done.returncode == 0, done.stderr
    assert "nothing wrong" in done.stdout
