from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import yaml

from fmlab.config.values import dump, read_file, read_value, show
from fmlab.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1e-05", 1e-5),
        ("2.5E3", 2500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-7", -7),
        ("400_000", 400_000),
        ("007", "007"),
        ("1_0", "1_0"),
        ("True", True),
        ("false", False),
        ("yes", "yes"),
        ("on", "on"),
        ("None", None),
        ("null", None),
        ("~", None),
        ("", None),
        ("None of these", "None of these"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("[1, 2e-1]", [1, 0.2]),
        ("{'lr': 0.1, 'name': None}", {"lr": 0.1, "name": None}),
        ("'1'", "1"),
        ("${a.b}", "${a.b}"),
        ("${oc.env:X,data}", "${oc.env:X,data}"),
        ("[1, 2", "[1, 2"),
        ("@scratch/x", "@scratch/x"),
    ],
)
def test_a_scalar_is_what_people_mean(text: str, value: object) -> None:
    result = read_value(text)
    assert result == value
    assert type(result) is type(value)


def test_infinite_numbers() -> None:
    assert read_value("-.inf") == -math.inf
    assert math.isnan(read_value(".nan"))


@pytest.mark.parametrize("word", ["1e-4", "None", "true", "yes", "007", "1", "a: b", "", "~", "12:30", "1_000"])
def test_a_dumped_text_is_read_back_as_text_by_either_reader(word: str) -> None:
    text = dump({"x": word})
    assert read_value(text) == {"x": word}
    assert yaml.safe_load(text) == {"x": word}


@pytest.mark.parametrize("number", [1e-4, 1e-05, 3.0, 1e22, 400_000])
def test_a_dumped_number_is_read_back_as_it_was_by_either_reader(number: float) -> None:
    text = dump({"x": number})
    assert read_value(text) == yaml.safe_load(text) == {"x": number}


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(UserError) as caught:
        read_file(path)
    assert caught.value.key == f"{path}:3"
    assert caught.value.hint == "the line reads: c: 3"
    assert "\n" not in caught.value.message


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("trainer:\n  max_steps: 1\n  max_steps: 2\n")
    with pytest.raises(UserError, match="'max_steps' is given twice") as caught:
        read_file(path)
    assert caught.value.key == f"{path}:3"


def test_a_list_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n")
    with pytest.raises(UserError, match="expected `key: value` lines, got \\[1\\]"):
        read_file(path)


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_file(path)["b"] == {"x": 1, "y": 3}


def test_show_is_one_short_line() -> None:
    assert show("abc") == '"abc"'
    assert show(None) == "null"
    assert show([1, 2]) == "[1, 2]"
    assert len(show(list(range(1000)))) == 60


def nines(levels: int) -> str:
    """Aliases of aliases: nine lines that stand for nine to the power of nine values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


MERGES = "a: &a {x0: 1, x1: 1, x2: 1}\n" + "\n".join(
    f"b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]}}" for n in range(9)
)


@pytest.mark.parametrize(
    "text",
    [nines(9), MERGES, "a: &a [*a]", "a: &a {b: *a}", "a: " + "[" * 5000, "a: " + "[" * 100 + "]" * 100, "a: [" * 3000],
    ids=["aliases", "merges", "cycle", "cyclic mapping", "brackets", "closed brackets", "mixed"],
)
def test_a_hostile_document_is_answered_in_one_line_at_once(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    begin = time.perf_counter()
    with pytest.raises(UserError) as caught:
        read_file(path)
    assert time.perf_counter() - begin < 5
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200
    with pytest.raises(UserError, match="more than"):
        read_value(text)


def test_a_file_of_megabytes_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: " + "x" * 2_000_000)
    with pytest.raises(UserError, match="is larger than"):
        read_file(path)


def test_odd_keys_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\n? [1, 2]\n: 3\n")
    with pytest.raises(UserError, match="a key has to be a word"):
        read_file(path)
