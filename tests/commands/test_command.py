from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmlab.__main__ import main, verb_first
from fmlab._version import __version__
from fmlab.commands import VERBS
from fmlab.commands.list import ListOptions

LIGHT = [
    ["--help"],
    [],
    ["--version"],
    ["list"],
    ["list", "networks"],
    ["list", "networks", "DiT"],
    ["list", "paths"],
    ["list", "solvers"],
    ["list", "data"],
    ["list", "predictions"],
    ["list", "processes"],
    ["draw"],
    ["draw", "process", "--help"],
    ["help", "fid"],
    ["help", "DiT"],
    ["sample", "--help"],
    ["help", "power_ema"],
]


@pytest.mark.parametrize("argv", LIGHT, ids=" ".join)
def test_it_answers_at_once_without_torch(argv: list[str]) -> None:
    code = (
        "import sys; from fmlab.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'wandb', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1
    assert done.stderr == ""


LIGHT_MISTAKES = [
    ["fti"],
    ["sample", "digits", "--stpes", "5"],
    ["sample", "digits", "--steps", "0"],
    ["sample", "no_such_run"],
    ["evaluate", "no_such_run"],
    ["validate", "no_such_run"],
    ["export", "no_such_run", "--to", "safetensors"],
    ["import", "no_such_file.pt", "--as", "DiT", "--to", "a.safetensors"],
    ["fit", "--resume", "no_such_run"],
    ["fit", "--resum", "digits"],
    ["help", "no_such_word"],
    ["submit", "--dryrun"],
    ["submit"],
    ["sweep", "no_such_file.yaml"],
    ["sweep", "--wokers", "2"],
    ["sample", "digits", "--solver", "Huen"],
    ["sample", "digits", "--path", "VPP"],
    ["evaluate", "digits", "--solver", "Euler,Huen"],
    ["evaluate", "digits", "--grid", "Uniform"],
    ["evaluate", "digits", "--metrics", "fid,kidd"],
]


@pytest.mark.parametrize("argv", LIGHT_MISTAKES, ids=" ".join)
def test_a_mistake_that_needs_no_torch_is_answered_without_it(argv: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from fmlab.__main__ import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'lightning', 'wandb', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 3


def test_every_verb_has_one_help_and_needs_no_torch_for_it() -> None:
    code = """
import contextlib, io, sys
from fmlab.__main__ import main
from fmlab.commands import VERBS, commands_of

def page(*argv):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(argv) == 0, argv
    return out.getvalue()

for verb in VERBS:
    assert page(verb, "--help") == page("help", verb), verb
    assert page(verb, "-h").startswith(f"usage: fmlab {verb}"), verb
    for sub_verb in filter(None, commands_of(verb)):
        assert page(verb, sub_verb, "--help") == page("help", verb, sub_verb), sub_verb
assert not {"torch", "lightning", "wandb", "numpy"} & set(sys.modules)
print("all")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "all\n", ended.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fmlab {__version__}\n"


def test_the_verb_may_come_late() -> None:
    assert verb_first(["--config", "x.yaml", "fit", "--a=1"]) == ["fit", "--config", "x.yaml", "--a=1"]
    assert verb_first(["--config=x.yaml", "fit"]) == ["fit", "--config=x.yaml"]
    assert verb_first(["--config", "fit"]) == ["--config", "fit"]
    assert verb_first(["fit", "--config", "x.yaml"]) == ["fit", "--config", "x.yaml"]


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["fti"], ["error: fti: is not a verb", "  did you mean fmlab fit?"]),
        (["train"], ["error: train: is not a verb", "  did you mean fmlab fit?"]),
        (["generate"], ["error: generate: is not a verb", "  did you mean fmlab sample?"]),
        (["test"], ["error: test: is not a verb", "  did you mean fmlab validate?"]),
        (["trian"], ["error: trian: is not a verb", "  did you mean fmlab fit?"]),
        (["fit", "--confg", "x.yaml"], ["error: confg: unknown section", "  did you mean config?"]),
        (["help", "LoRA"], ["error: LoRA: is not known", "  fmlab help lists the verbs, fmlab list the classes"]),
        (["xyz"], ["error: xyz: is not a verb", f"  verbs: {', '.join(VERBS)}"]),
        (["list", "network"], ["error: network: there is no such list", "  did you mean networks?"]),
        (["list", "networks", "DIT"], ["error: DIT: is not known", "  did you mean DiT?"]),
        (["help", "trainr"], ["error: trainr: is not known", "  did you mean trainer?"]),
    ],
)
def test_a_wrong_word_gets_the_right_one(argv: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.splitlines() == lines


MISTAKES = {
    "misspelt key": (
        ["--model.network.widht=3"],
        ["error: model.network.widht: unknown key, MLP takes no 'widht'", "  did you mean width?"],
    ),
    "misspelt section": (["--dtaa.name=moons"], ["error: dtaa: unknown section", "  did you mean data?"]),
    "unknown class": (
        ["--model.network=MPL"],
        ["error: model.network: no Module is called 'MPL'", "  did you mean MLP?"],
    ),
    "wrong type": (["--trainer.max_steps=many"], ['error: trainer.max_steps: expected int, got "many"']),
    "wrong word": (
        ["--model.prediction=velocty"],
        [
            "error: model.prediction: expected one of velocity, score, noise, data, velocity_and_score or "
            'EDMPreconditioning, got "velocty"',
            "  did you mean velocity?",
        ],
    ),
    "missing file": (
        ["--config", "point.yaml"],
        ["error: --config point.yaml: no such file", "  did you mean points.yaml?"],
    ),
    "syntax error": (
        ["--config", "broken.yaml"],
        [
            "error: broken.yaml:2: expected ',' or ']', but got '<stream end>'",
        ],
    ),
    "flag without a value": (
        ["--trainer.fast_dev_run"],
        [
            "error: --trainer.fast_dev_run: needs a value",
            "  write --trainer.fast_dev_run=true (or --trainer.fast_dev_run=VALUE)",
        ],
    ),
    "unresolved interpolation": (
        ["--fid.steps=${data.trainsize}"],
        [
            "error: fid.steps: Interpolation key 'data.trainsize' not found",
            "  did you mean data.train_size or data.validation_size?",
        ],
    ),
    "module not found": (
        ["--model.network=my_net.MyNet"],
        [
            "error: model.network: there is no module 'my_net' beside the configuration file, in this folder"
            " or installed",
        ],
    ),
    "missing argument": (
        ["--model.lr_scheduler=StepLR"],
        [
            "error: model.lr_scheduler.step_size: missing, StepLR needs a value",
            "  give it with --model.lr_scheduler.step_size=...",
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_at_most_three_lines(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_text("a: 1\nb: [1, 2")
    argv, lines = MISTAKES[name]
    assert main(["fit", "--config", "points.yaml", *argv]) == 2
    captured = capsys.readouterr()
    message = [line for line in captured.err.splitlines() if not line.startswith("note: ")]
    assert message[: len(lines)] == lines
    assert len(message) <= 3
    assert captured.out == ""
    assert not Path("runs").exists()


def test_an_incompatible_pair_names_key_and_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--data=Digits", "--model.network=DiT", "--model.network.patch_size=3", "--model.network.width=48"]
    assert main(["fit", "--config", "points.yaml", *argv]) == 2
    message = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert message[0].startswith("error: model.network.patch_size: ")
    assert len(message) <= 3


def test_the_configuration_may_come_before_the_verb(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "points.yaml", "fit", "--model.network.widht=3"]) == 2
    assert capsys.readouterr().err.splitlines() == MISTAKES["misspelt key"][1]


@pytest.mark.slow
def test_from_a_shell(folder: Path) -> None:
    argv = [sys.executable, "-m", "fmlab", "--config", "points.yaml", "fit", "--model.network.widht=3"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == MISTAKES["misspelt key"][1]
    assert done.stdout == ""


def test_the_full_traceback_is_a_flag_away(folder: Path) -> None:
    from fmlab.errors import UserError

    with pytest.raises(UserError):
        main(["fit", "--config", "points.yaml", "--traceback", "--model.network.widht=3"])


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(options: ListOptions) -> int:
        return 1 // 0

    monkeypatch.setattr("fmlab.commands.list.run", fails)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_a_wrapped_mistake_is_still_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from fmlab.errors import UserError

    def fails(options: ListOptions) -> int:
        try:
            raise UserError("too\nwide", key="x")
        except UserError as error:
            raise RuntimeError("inner machinery") from error

    monkeypatch.setattr("fmlab.commands.list.run", fails)
    assert main(["list"]) == 2
    assert capsys.readouterr().err == "error: x: too wide\n"


def test_the_printed_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "points.yaml", "--print_config"]) == 0
    printed = capsys.readouterr().out
    Path("printed.yaml").write_text(printed)
    assert main(["fit", "--config", "printed.yaml", "--print_config"]) == 0
    configuration = [line for line in printed.splitlines() if not line.startswith("# ")]
    assert "# data.seed is that of seed_everything" in printed
    assert capsys.readouterr().out.splitlines() == configuration
