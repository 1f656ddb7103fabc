from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import get_args

import pytest

from fmlab.__main__ import main
from fmlab.commands.help import explain
from fmlab.config import catalog, schema
from fmlab.paths import Output


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_the_catalogue_says_what_the_rooms_export(kind: str) -> None:
    kind_entry = catalog.KINDS[kind]
    bases = set(kind_entry.bases.split())
    room = importlib.import_module(f"fmlab.{kind_entry.room}")
    exported = [getattr(room, name) for name in room.__all__]
    expected = {
        cls.__name__
        for cls in exported
        if inspect.isclass(cls) and cls.__name__ not in bases and bases & {base.__name__ for base in cls.__mro__}
    }
    assert expected
    assert {entry.name for entry in catalog.of_kind(kind)} == expected
    for entry in catalog.of_kind(kind):
        module, _, name = entry.path.rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        assert entry.docstring.splitlines()[0] == (cls.__doc__ or "").strip().splitlines()[0]


def test_the_predictions_are_the_paths_own_words() -> None:
    assert list(catalog.PREDICTIONS) == list(get_args(Output))


@pytest.mark.parametrize("section", schema.SECTIONS, ids=lambda section: section.name)
def test_every_section_has_a_class(section: schema.Section) -> None:
    module, _, name = section.target.rpartition(".")
    assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_lists_name_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    kinds = capsys.readouterr().out
    for kind in catalog.KINDS:
        assert kind in kinds
        assert main(["list", kind]) == 0
        out = capsys.readouterr().out
        assert all(entry.name in out for entry in catalog.of_kind(kind))


def test_experiments_are_listed_with_the_first_sentence_of_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", "experiments"]) == 2
    assert "no folder experiments" in capsys.readouterr().err
    Path("experiments").mkdir()
    header = "# fmlab fit --config a.yaml\n# The first\n# sentence. Another.\n"
    Path("experiments/a.yaml").write_text(header + "seed_everything: 1\n")
    Path("experiments/b.yaml").write_text("seed_everything: 1\n# too late\n")
    assert main(["list", "experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  experiments/a.yaml  The first sentence." in lines
    assert "  experiments/b.yaml" in lines


def test_a_class_is_explained_with_its_arguments() -> None:
    text = explain("VP")
    assert text.startswith("fmlab.paths.VP")
    assert "  beta_max: float = 20.0\n" in text
    inherited = explain("ScoreMatching")
    assert "  network: nn.Module  (needed)\n      `network(x, t, condition)`" in inherited
    assert "arguments:\n  total_steps: int  (needed)\n" in explain("WarmupCosine")  # the trainer gives the optimizer


def test_arguments_agree_with_the_constructors() -> None:
    for name, kind in catalog.KINDS.items():
        for entry in catalog.of_kind(name):
            cls = getattr(importlib.import_module(f"fmlab.{entry.room}"), entry.name)
            taken = [name for name in inspect.signature(cls).parameters if name not in ("args", "kwargs")]
            shown = explain(entry.name, name).partition("arguments:\n")[2].splitlines()
            names = [line.split(":")[0].strip() for line in shown if line.startswith("  ") and line[2] != " "]
            assert names == taken[kind.supplied :], entry.path
