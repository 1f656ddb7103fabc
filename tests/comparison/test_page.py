"""The page's text, and the command that writes it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers.written_runs import MEASUREMENT, config, write_run

from fmlab.__main__ import main
from fmlab.comparison import compare
from fmlab.comparison.page import page
from fmlab.comparison.payload import payload, thinned
from fmlab.comparison.runs import Curve

NASTY = "</script><script>alert(1)</script>"


def content_in(text: str) -> dict[str, Any]:
    """What a page holds."""
    packed = re.search(r'id="data">([^<]*)<', text)
    assert packed is not None
    content: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return content


def outside(text: str) -> list[str]:
    """Every address that a page's markup names."""
    addresses: list[str] = []

    class Addresses(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            addresses.extend(value or "" for name, value in attributes if name in ("src", "href", "action", "srcset"))

    Addresses().feed(text)
    return addresses


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, value in (("CondOT", 1.0), ("VP", 2.0)):
        for seed in range(5):
            write_run(tmp_path, value * (1 + 0.01 * seed**2), path=path, seed=seed, nfe=(5, 10), grid=True)
    file = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "made"), "--out", str(file)]) == 0
    output = capsys.readouterr().out
    assert "path=CondOT is the best, 1.06 ± 0.066 (5 seeds): better than the other group" in output
    assert str(file) in output
    text = file.read_text()
    assert [address for address in outside(text) if not address.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in text
    assert file.stat().st_size < 3 * 2**20
    content = content_in(text)
    assert [group["label"] for group in content["groups"]] == ["path=CondOT", "path=VP"]
    assert len(content["evaluations"]) == 20
    assert len(content["pictures"]) == 10
    assert content["pictures"][0]["source"].startswith("data:image/webp;base64,")
    assert len({picture["drawn"] for picture in content["pictures"]}) == 1, "the same seeds stand together"
    number = [name for name, _ in content["metrics"]].index("val/fid_domain")
    (standing,) = content["standings"][number][0]
    assert (standing["best"], standing["winner"], standing["family"]) == (0, True, 1)
    lines = content["measurements"][content["groups"][0]["runs"][0]["scores"][str(number)][3]]
    assert ["samples", "1000"] in lines
    assert ["setting solver", "Euler()"] in lines


def test_names_are_no_markup(tmp_path: Path) -> None:
    own = {**config("CondOT", 0), "note": NASTY}
    write_run(tmp_path, 1.0, configuration=own)
    write_run(tmp_path, 1.0, configuration={**own, "note": "plain"})
    text = page(payload(compare(tmp_path / "made")), NASTY)
    assert NASTY not in text
    assert "&lt;script&gt;alert(1)" in text, "the title"
    assert any(NASTY in group["label"] for group in content_in(text)["groups"]), "the data, as text"


def test_a_long_curve_is_thinned_between_its_ends() -> None:
    steps, values = thinned(Curve(list(range(1000)), [float(step) for step in range(1000)]), 40)
    assert len(steps) == len(values) == 40
    assert (steps[0], steps[-1], values[-1]) == (0, 999, 999.0)
    assert thinned(Curve([0, 9], [1.0, 2.0]), 40) == ([0, 9], [1.0, 2.0])


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    write_run(tmp_path, float("nan"))
    content = content_in(page(payload(compare(tmp_path / "made")), "nan"))
    number = [name for name, _ in content["metrics"]].index("val/fid_domain")
    assert content["groups"][0]["stats"][str(number)][0] == [None, None, 0]
    assert content["standings"][number][0] == []


def test_the_terminals_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        write_run(tmp_path, 1.0 + seed, path="CondOT", seed=seed)
        write_run(tmp_path, 4.0 + seed, path="VP", seed=seed)
        write_run(tmp_path, 0.1, path="VE", seed=seed, measurement={**MEASUREMENT, "samples": 50})
    write_run(tmp_path, 1.0, seed=3, state="failed", run_id="broken")
    file = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "made"), "--out", str(file), "--metric", "val/fid_domain"]) == 0
    output = capsys.readouterr().out
    assert "a test needs 5 seeds that two groups share, and here at most 3 are shared." in output
    assert "too few pairs (3)" in output
    assert "Numbers of different measurement are not ranked together" in output
    assert "samples generated (1000 against 50)" in output
    assert "broken (failed)" in output


def test_no_page_is_replaced_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that was typed is refused, the usual one gets a number; with `--overwrite` either is replaced."""
    write_run(tmp_path, 1.0)
    monkeypatch.chdir(tmp_path)
    taken = [tmp_path / "mine.html", tmp_path / "comparison.html"]
    for file in taken:
        file.write_text("written by hand")
    assert main(["compare", "made", "--out=mine.html"]) == 2
    assert "out: mine.html is there already" in capsys.readouterr().err
    assert [main(["compare", "made"]) for _ in range(2)] == [0, 0]
    assert sorted(file.name for file in tmp_path.glob("comparison-*")) == ["comparison-2.html", "comparison-3.html"]
    assert "page       comparison-3.html" in capsys.readouterr().out
    assert [file.read_text() for file in taken] == ["written by hand"] * 2
    assert main(["compare", "made", "--out=mine.html", "--overwrite"]) == 0
    assert main(["compare", "made", "--overwrite"]) == 0
    assert all("<!doctype html>" in file.read_text().lower() for file in taken)
    assert len(list(tmp_path.glob("*.html"))) == 4


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--metric", "val/fid_domian"], "val/fid_domain"),
        (["--out", "page.pdf"], "page.html"),
        (["--out", "nowhere/page.html"], "there is no folder nowhere"),
        (["--metrc", "val/loss"], "did you mean --metric?"),
    ],
    ids=["metric", "suffix", "folder", "option"],
)
def test_mistakes_are_told_in_one_line(
    argv: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, 1.0)
    assert main(["compare", str(tmp_path / "made"), *argv]) == 2
    message = capsys.readouterr().err.strip()
    assert expected in message
    assert len(message.splitlines()) <= 3
    assert not (tmp_path / "comparison.html").exists()
