from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from helpers.tiny_runs import EXPERIMENTS

from fmlab.config.prepare import prepare, prepare_resumed
from fmlab.config.values import dump
from fmlab.data import Toy2D
from fmlab.errors import UserError
from fmlab.records import RunLayout

MINE = """\
from lightning.pytorch import LightningDataModule
from torch import nn
from fmlab.paths import CondOT
from fmlab.errors import UserError
from fmlab.solvers import Euler


class MySolver(Euler):
    pass


class MyNet(nn.Module):
    def __init__(self, shape: tuple[int, ...], width: int = 8):
        super().__init__()
        if width > 100:
            raise UserError("too wide", key="width")


class MyPath(CondOT):
    def __init__(self, strength: float = 1.0):
        pass


class MyData(LightningDataModule):
    def __init__(self, n, seed: int = 0):
        super().__init__()
        if n < 0:
            raise UserError(f"{n} points are too few", key="n")
        self.n, self.seed, self.shape, self.num_classes = n, seed, (n,), None
"""


@pytest.fixture
def mine(folder: Path) -> Path:
    (folder / "my_net.py").write_text(MINE)
    return folder


def test_shape_classes_and_seed_are_filled_in(folder: Path) -> None:
    prepared = prepare(["--config=points.yaml", "--data.labelled=true"])
    model = prepared.config["model"]["init_args"]
    assert isinstance(prepared.data, Toy2D)
    assert model["network"]["init_args"] == {"shape": [2], "num_classes": 2, "width": 16, "depth": 1}
    assert (model["num_classes"], model["seed"]) == (2, 3)
    assert prepared.config["data"]["init_args"]["seed"] == prepared.data.seed == 3
    assert prepared.config["run"] == {"name": "points"}


def test_what_the_configuration_says_is_not_filled_over(folder: Path) -> None:
    argv = [
        "--model.num_classes=null",
        "--model.seed=9",
        "--data.seed=8",
        "--run.name=other",
        "--model.network.shape=[5]",
    ]
    config = prepare(["--config=points.yaml", "--data.labelled=true", *argv]).config
    model = config["model"]["init_args"]
    assert model["num_classes"] is None
    assert model["seed"] == 9
    assert model["network"]["init_args"]["shape"] == [5]
    assert config["data"]["init_args"]["seed"] == 8
    assert config["run"]["name"] == "other"


def test_without_a_seed_there_is_a_fixed_one(folder: Path) -> None:
    text = Path("points.yaml").read_text().replace("seed_everything: 3\n", "")
    Path("points.yaml").write_text(text)
    assert prepare(["--config=points.yaml"]).config["seed_everything"] == 0


def test_only_model_and_data_are_filled(folder: Path) -> None:
    assert "seed" not in prepare(["--config=points.yaml"]).config["fid"]


@pytest.mark.parametrize(
    "overrides", [[], ["--model.path=Cosine", "--model=ScoreMatching", "--model.optimizer.lr=1e-05"]]
)
def test_the_printed_configuration_is_itself_one(folder: Path, overrides: list[str]) -> None:
    prepared = prepare(["--config=points.yaml", *overrides])
    Path("printed.yaml").write_text(prepared.yaml())
    again = prepare(["--config=printed.yaml"])
    assert again.config == prepared.config
    assert "# model.network.shape is that of data.shape\n" in prepared.yaml()
    assert again.yaml() == dump(prepared.config)
    assert again.notes == []
    assert yaml.safe_load(prepared.yaml()) == prepared.config
    swapped = prepare(["--config=printed.yaml", "--model.path=Polynomial", "--model.path.degree=3"])
    assert swapped.config["model"]["init_args"]["path"]["init_args"] == {"degree": 3}


def test_a_users_own_parts_beside_the_file(
    mine: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    argv = ["--model.network=my_net.MyNet", "--model.network.width=9", "--model.path=my_net.MyPath"]
    argv += ["--data=my_net.MyData", "--data.n=7", "--fid.solver=my_net.MySolver"]
    prepared = prepare([f"--config={mine}/points.yaml", *argv])
    model = prepared.config["model"]["init_args"]
    assert model["network"] == {"class_path": "my_net.MyNet", "init_args": {"shape": [7], "width": 9}}
    assert model["path"] == {"class_path": "my_net.MyPath"}
    assert prepared.config["data"] == {"class_path": "my_net.MyData", "init_args": {"n": 7, "seed": 3}}
    assert prepared.config["fid"]["solver"] == {"class_path": "my_net.MySolver"}
    assert prepared.data.seed == 3  # type: ignore[attr-defined]
    assert str(mine) in prepared.import_folders
    assert {note.partition(":")[0] for note in prepared.notes} == {"model.network", "model.path", "data"}


def test_a_users_own_parts_in_the_working_directory(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = tmp_path_factory.mktemp("elsewhere") / "points.yaml"
    config.write_text((mine / "points.yaml").read_text())
    prepared = prepare([f"--config={config}", "--model.network=my_net.MyNet"])
    assert prepared.config["model"]["init_args"]["network"]["class_path"] == "my_net.MyNet"


@pytest.mark.parametrize(
    ("text", "word", "message", "hint"),
    [
        (MINE, "my_nte.MyNet", "there is no module 'my_nte'", "did you mean my_net?"),
        (MINE, "my_net.MyNte", "my_net.py has no class 'MyNte'", "did you mean MyNet"),
        (MINE, "my_net.MyPath", "my_net.MyPath is no Module", ""),
        ("import no_such_thing\n", "my_net.MyNet", "my_net.py:1: ModuleNotFoundError: No module named 'no_such", ""),
        ("x = 1\n\nx = y\n", "my_net.MyNet", "my_net.py:3: NameError: name 'y' is not defined", ""),
        ("x = 1\nclass (\n", "my_net.MyNet", "my_net.py:2: SyntaxError", ""),
        (MINE, "torch.nn.Linea", "torch.nn has no class 'Linea'", "Linear"),
        (MINE, "fmlab.netwroks.DiT", "there is no module 'netwroks' in fmlab", "networks"),
    ],
)
def test_an_import_path_that_fails_says_which_part(mine: Path, text: str, word: str, message: str, hint: str) -> None:
    Path("my_net.py").write_text(text)
    with pytest.raises(UserError) as caught:
        prepare(["--config=points.yaml", f"--model.network={word}"])
    assert caught.value.key == "model.network"
    assert caught.value.message.startswith(message)
    assert hint in str(caught.value.hint or "")


def test_a_data_modules_own_complaint_gets_its_full_key(mine: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare(["--config=points.yaml", "--data=my_net.MyData", "--data.n=-1"])
    assert (caught.value.key, caught.value.message) == ("data.n", "-1 points are too few")


def test_sections_that_are_needed_or_unknown(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare([])
    assert caught.value.key == "model"
    assert "--config experiments/digits.yaml" in str(caught.value.hint)
    with pytest.raises(UserError) as caught:
        prepare(["--config=points.yaml", "--modle.path=VP"])
    assert (caught.value.key, caught.value.hint) == ("modle", "did you mean model?")
    with pytest.raises(UserError, match='expected int, got "abc"'):
        prepare(["--config=points.yaml", "--seed_everything=abc"])


def test_a_section_that_is_null_is_off(folder: Path) -> None:
    from fmlab.config.schema import callbacks_in

    config = prepare(["--config=points.yaml", "--fid=None"]).config
    assert [section.name for section in callbacks_in(config)] == ["ema"]


@pytest.mark.parametrize("text", ["3e-4", "set #2", "true", "null", "007", "1_000", "[x]", "a: b", "0x10"])
def test_a_text_is_what_was_typed(folder: Path, text: str) -> None:
    assert prepare(["--config=points.yaml", f"--run.name={text}"]).config["run"]["name"] == (
        "points" if text == "null" else text
    )
    assert prepare(["--config=points.yaml", f"--run.dir={text}"]).config["run"]["dir"] == text


def test_a_text_is_what_was_written(folder: Path) -> None:
    Path("more.yaml").write_text("run: {name: 3e-4, dir: 1e3, tags: [7, 1e-4, x]}\n")
    run = prepare(["--config=points.yaml", "--config=more.yaml"]).config["run"]
    assert run == {"name": "3e-4", "dir": "1e3", "tags": ["7", "1e-4", "x"]}
    assert (
        prepare(["--config=points.yaml", "--config=more.yaml", "--run.dir=${trainer.max_steps}"]).config["run"]["dir"]
        == "4"
    )


@pytest.mark.parametrize(
    ("tag", "trust", "answer"),
    [
        ("hf_0123456789abcdefghij", True, r"run\.tags\[0\]: is a credential, which no record keeps"),
        ("hf_0123456789abcdefghij", False, r"run\.tags\[0\]: is a credential"),
        ("0123456789abcdef", False, r"run\.tags\[0\]: is the value of MY_TOKEN, which no record keeps"),
        ("${oc.env:MY_TOKEN}", False, r"run\.tags\[0\]: is the value of MY_TOKEN"),
        ("0123456789abcdef", True, None),
        ("${oc.env:MY_TOKEN}", True, None),
    ],
)
def test_a_resumed_run_gets_its_credentials_anew(
    tag: str, trust: bool, answer: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment if it is trusted, or from the command line; never the word that stands in the record."""
    monkeypatch.setenv("MY_TOKEN", "0123456789abcdef")
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    prepare(["--config", str(EXPERIMENTS / "digits.yaml"), f"--run.tags=['{tag}']"]).write(layout)
    assert "0123456789abcdef" not in layout.config.read_text() + layout.raw_config.read_text()
    if answer is None:
        assert prepare_resumed(layout, [], trust).config["run"]["tags"] == ["0123456789abcdef"]
        monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(UserError, match="MY_TOKEN" if answer is None else "no record keeps") as caught:
        prepare_resumed(layout, [], trust)
    if answer is not None:
        assert re.match(answer, f"{caught.value.key}: {caught.value.message}")
    assert prepare_resumed(layout, ["--run.tags=[typed]"], trust).config["run"]["tags"] == ["typed"]
