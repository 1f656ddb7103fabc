from __future__ import annotations

from pathlib import Path

import pytest

from fmlab.config.arguments import parse_arguments
from fmlab.errors import UserError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("")
    Path("experiments").mkdir()
    Path("experiments/digits.yaml").write_text("")
    return tmp_path


def test_every_form_of_file_and_override(here: Path) -> None:
    argv = ["--config", "a.yaml", "--x.y=1", "-c", "b.yaml", "--x.z", "-0.5", "w=a=b", "--config=a.yaml"]
    files, overrides = parse_arguments(argv)
    assert files == [Path("a.yaml"), Path("b.yaml"), Path("a.yaml")]
    assert overrides == [("x.y", "1"), ("x.z", "-0.5"), ("w", "a=b")]


@pytest.mark.parametrize(
    ("argv", "key", "hint"),
    [
        (["--trainer.fast_dev_run"], "--trainer.fast_dev_run", "--trainer.fast_dev_run=true"),
        (["--trainer.fast_dev_run", "--x=1"], "--trainer.fast_dev_run", "--trainer.fast_dev_run=true"),
        (["--config"], "--config", "--config experiments/digits.yaml"),
        (["a.yaml"], "a.yaml", "write --config a.yaml"),
        (["nonsense"], "nonsense", "--model.path=VP"),
        (["-x", "3"], "-x", "two dashes"),
        (["--model..path=3"], "--model..path=3", "--model.path=VP"),
        (["--config", "A.yaml"], "--config A.yaml", "did you mean a.yaml"),
        (["--config", "digits"], "--config digits", "did you mean experiments/digits.yaml?"),
        (["--config", "digits.yaml"], "--config digits.yaml", "did you mean experiments/digits.yaml?"),
        (["--config", "experiments/digit.yaml"], "--config experiments/digit.yaml", "experiments/digits.yaml"),
        (["--config", "experiments/xyz.yaml"], "--config experiments/xyz.yaml", "there is experiments/digits.yaml"),
        (["--config", "nowhere/digit.yaml"], "--config nowhere/digit.yaml", "you are in"),
    ],
)
def test_what_cannot_be_read_names_the_word_and_the_right_one(here: Path, argv: list[str], key: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_arguments(argv)
    assert caught.value.key == key
    assert hint in str(caught.value.hint)
