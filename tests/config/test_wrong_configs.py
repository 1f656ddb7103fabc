"""A hundred wrong configurations, made from the shipped ones: each told in three lines, exit code 2, no traceback."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fmlab.__main__ import main

ROOT = Path(__file__).parents[2]
EXPERIMENTS = {path.stem: path for path in sorted((ROOT / "experiments").glob("*.yaml"))}
SHORT = ["--trainer.max_steps=1", "--trainer.accelerator=cpu", "--wandb.mode=disabled"]


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a configuration whose value is no mapping."""
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def at(node: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        node = node[name]
    return node


def misspelt(word: str, draw: random.Random) -> str:
    index = draw.randrange(len(word))
    return word[:index] + draw.choice(string.ascii_lowercase) + word[index:]


def wrong_keys(count: int) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """A key of a shipped file with a letter too many."""
    draw = random.Random(0)
    for number in range(count):
        name = draw.choice(list(EXPERIMENTS))
        content = yaml.safe_load(EXPERIMENTS[name].read_text())
        path = draw.choice([each for each in leaves(content) if each[-1] != "class_path"])
        parent = at(content, path[:-1])
        value = parent.pop(path[-1])
        parent[misspelt(path[-1], draw)] = value
        yield f"key {number}: {name} {'.'.join(path)}", content, []


def wrong_types(count: int) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """A number of a shipped file replaced by a word, a list or a mapping."""
    draw = random.Random(1)
    for number in range(count):
        name = draw.choice(list(EXPERIMENTS))
        content = yaml.safe_load(EXPERIMENTS[name].read_text())
        overridden = ("trainer", "max_steps")  # SHORT says it again
        numbers = [each for each in leaves(content) if each != overridden and type(at(content, each)) in (int, float)]
        path = draw.choice(numbers)
        at(content, path[:-1])[path[-1]] = draw.choice(["many", [1, "x"], {"a": 1}])
        yield f"type {number}: {name} {'.'.join(path)}", content, []


def wrong_classes(count: int) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """A class that there is not, or that is another part's."""
    draw = random.Random(2)
    names = ["DiTT", "Heun", "CondOT", "nobody.Net", "torch.nn.Linear", "os.system", "", "7", "fmlab.paths.Nothing"]
    for number in range(count):
        part = draw.choice(["model", "model.network", "model.path", "data", "samples.solver", "fid.grid"])
        word = draw.choice([each for each in names if (part, each) not in FITTING])
        yield f"class {number}: {part}={word}", {}, [f"--{part}={word}"]


FITTING = {("samples.solver", "Heun"), ("model.path", "CondOT"), ("model.network", "torch.nn.Linear")}

IMPOSSIBLE = [
    ["--model.network.patch=3"],
    ["--model.network.heads=7"],
    ["--model.label_dropout=2"],
    ["--model.label_dropout=0", "--fid.guidance_scale=2"],
    ["--data=Toy2D"],
    ["--data=Toy2D", "--model.network=MLP", "--samples.guidance_scales=[2.0]"],
    ["--data.global_batch_size=63", "--trainer.accumulate_grad_batches=2"],
    ["--data.global_batch_size=0"],
    ["--model=ScoreMatching", "--model.path=Interpolant"],
    ["--model.path=Interpolant", "--model.prediction=noise"],
    ["--model.prediction=colour"],
    ["--model.network=UNet", "--model.network.channel_mult=[1,2,3,4,5]"],
    ["--ema.decays=[1.5]"],
    ["--fid.features=w2"],
    ["--fid.num_samples=0"],
    ["--fid.steps=0"],
    ["--samples.columns=0"],
    ["--ema.warmup=maybe"],
    ["--checkpoint.mode=least"],
    ["--checkpoint.every_n_steps=0"],
    ["--trainer.precision=12"],
    ["--trainer.accelerator=abacus"],
    ["--trainer.devices=zero"],
    ["--trainer.strategy=dpp"],
    ["--trainer.max_steps=${trainer.max_stepz}"],
    ["--run.name=a/b"],
    ["--wandb.mode=perhaps"],
    ["--seed_everything=random"],
    ["--model.time_sampler=LogitNormal", "--model.time_sampler.scale=-1"],
    ["--model.path=VP", "--model.path.beta_max=-3"],
]


def cases() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    yield from wrong_keys(30)
    yield from wrong_types(20)
    yield from wrong_classes(14)
    yield from ((f"impossible: {' '.join(argv)}", {}, argv) for argv in IMPOSSIBLE)
    yield "missing: file", {}, ["--config", "nowhere.yaml"]
    yield "missing: folder", {}, ["--config", "no/where.yaml"]
    yield "missing: data", {}, ["--data=ImageFolder", "--data.root=no/where"]
    yield "missing: weights", {}, ["--fid.features=inception", "--initial.weights=no.safetensors"]
    yield "missing: value", {}, ["--model.path"]
    yield "missing: key", {}, ["--=3"]


CASES = list(cases())


def test_there_are_a_hundred() -> None:
    assert len(CASES) == 100


@pytest.mark.parametrize(("content", "argv"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_wrong_configuration_is_told_in_three_lines(
    content: dict[str, Any],
    argv: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FMLAB_DATA", str(tmp_path / "data"))
    file = EXPERIMENTS["digits"]
    if content:
        file = tmp_path / "wrong.yaml"
        file.write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(file), *SHORT, *argv]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ")
    assert 1 <= len(message.splitlines()) <= 3
    assert "Traceback" not in message
