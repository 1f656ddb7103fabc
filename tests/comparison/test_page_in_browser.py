"""The page in a real browser: it loads alone, answers, filters, sorts, and works without a mouse."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Browser, browser
from helpers.written_runs import MEASUREMENT, config, write_run

from fmlab.__main__ import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

NASTY = '<script>document.title="taken"</script><img src=x onerror=alert(1)>'
ROWS = "[...document.querySelectorAll('#table tbody tr:not(.apart):not(.run) th')].map((row) => row.textContent)"
FILTER = "document.getElementById('filter')"
HEADING = "[...document.querySelectorAll('#table thead button')].find((one) => one.textContent.startsWith('path'))"
METRIC = "document.getElementById('metric')"
SETTLED = "new Promise((done) => setTimeout(done, 400))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Paths of which one is better, one shows no clear difference from it, and one was measured in another way."""
    folder = tmp_path_factory.mktemp("page")
    generator = np.random.default_rng(0)
    for seed in range(6):
        shared = generator.normal()
        for path, mean in (("CondOT", 3.0), ("VP", 5.0)):
            final = mean + shared + 0.05 * generator.normal()
            write_run(folder, final, path=path, seed=seed, nfe=(5, 10, 20), grid=True)
        other = config("CondOT", seed, width=256)
        write_run(folder, 3.0 + shared + 0.5 * generator.normal(), seed=seed, configuration=other, grid=True)
        write_run(folder, 0.1, path="VE", seed=seed, measurement={**MEASUREMENT, "samples": 50})
    write_run(folder, 0.2, path="VP", seed=9, state="failed")
    named = {**config("CondOT", 0), "note": NASTY}
    write_run(folder, 4.0, experiment="evil", configuration=named)
    file = folder / "page.html"
    assert main(["compare", str(folder / "made"), str(folder / "evil"), "--out", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def shown() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def opened(shown: Browser, page: Path) -> Browser:
    shown.look()
    shown.open(page)
    return shown


def write(opened: Browser, text: str) -> None:
    """Types into the filter and waits until it is done."""
    opened.run(f"{FILTER}.select(); {FILTER}.focus()")
    if text:
        opened.type(text)
    else:
        opened.run(f"{FILTER}.value = ''; {FILTER}.dispatchEvent(new Event('input'))")
    opened.run(SETTLED)


def test_it_loads_alone_and_without_errors(opened: Browser) -> None:
    assert opened.errors == []
    assert opened.requests == []
    assert opened.run("document.title") == "evil, made: runs compared", "no name was read as markup"
    assert opened.run("document.querySelectorAll('#table img, #table script, #configs img').length") == 0
    assert opened.run(f"document.getElementById('configs').textContent.includes({NASTY!r})")
    assert opened.run("document.querySelectorAll('.js-plotly-plot').length") == 4
    saved = "Plotly.toImage(document.querySelector('.js-plotly-plot'), {format: 'png'}).then((one) => one.length)"
    assert opened.run(saved) > 10_000, "a chart can be saved as a picture"
    assert opened.run(
        "[...document.querySelectorAll('.main-svg')].every((one) => one.getBoundingClientRect().width > 300)"
    )


def test_it_says_what_is_better_and_what_is_not(opened: Browser) -> None:
    answer = opened.run("document.getElementById('answer').textContent")
    assert "better than “made: path=VP" in answer or "better than “made: network.width=128, path=VP" in answer, answer
    assert "no clear difference from" in answer
    rows = opened.run(ROWS)
    first = opened.run("document.querySelector('#table tr.best').textContent")
    assert "CondOT" in first
    assert "VE" not in first, "its lower number was measured in another way"
    assert any("VE" in row for row in rows[3:])
    apart = opened.run("document.querySelector('#table tr.apart').textContent")
    assert "not ranked together" in apart
    assert "samples generated (1000 against 50)" in apart


def test_it_tests_nothing_with_few_seeds(shown: Browser, tmp_path: Path) -> None:
    for seed in range(4):
        write_run(tmp_path, 1.0 + 0.1 * seed, seed=seed)
        write_run(tmp_path, 9.0 + 0.2 * seed, path="VP", seed=seed)
    file = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "made"), "--out", str(file)]) == 0
    shown.look()
    shown.open(file)
    answer = shown.run("document.getElementById('answer').textContent")
    assert "a test needs 5 seeds that two groups share, and here at most 4 are shared." in answer
    assert "is the best" not in answer
    assert shown.run("document.querySelectorAll('.worse, .claim').length") == 0
    assert "too few pairs (4)" in shown.run("document.getElementById('table').textContent")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path=VP", ["VP"]),
        ("width>200", ["width=256"]),
        ("path!=CondOT", ["VE", "VP"]),
        ("fid_domain<1", ["VE"]),
        ("state=failed", ["VP"]),
        ("condot width=256", ["width=256"]),
        ("nothing-like-this", []),
    ],
)
def test_it_filters(opened: Browser, text: str, expected: list[str]) -> None:
    claimed = opened.run("document.getElementById('answer').textContent")
    write(opened, text)
    rows = opened.run(ROWS)
    assert len(rows) == len(expected), rows
    assert all(any(word in row for row in rows) for word in expected), rows
    assert opened.run("document.getElementById('found').value") == f"{len(expected)} of 5 groups"
    assert opened.run("document.getElementById('answer').textContent") == claimed, "a filter changes no result"
    write(opened, "")
    assert len(opened.run(ROWS)) == 5
    assert opened.errors == []


def test_it_sorts(opened: Browser) -> None:
    click = f"{HEADING}.click()"
    order = (
        "[...document.querySelectorAll('#table tbody')].map((body) => [...body.querySelectorAll('tr:not(.apart)')]"
        ".map((row) => row.textContent.includes('VP')))[0]"
    )
    opened.run(click)
    assert opened.run(order)[-1] is True
    assert opened.run("document.querySelectorAll('#table [aria-sort=ascending]').length") == 1
    opened.run(click)
    assert opened.run(order)[0] is True
    assert opened.run("document.querySelectorAll('#table [aria-sort=descending]').length") == 1


def test_other_metrics_and_the_best_value(opened: Browser) -> None:
    opened.run("document.querySelector('input[name=which][value=\"1\"]').click()")
    opened.run(SETTLED)
    assert "(best)" in opened.run("document.querySelector('#seeds .xtitle').textContent")
    rate = f"[...{METRIC}.options].find((one) => one.textContent === 'train/lr').value"
    opened.run(f"{METRIC}.value = {rate}; {METRIC}.dispatchEvent(new Event('change'))")
    opened.run(SETTLED)
    assert "The groups are not ranked" in opened.run("document.getElementById('answer').textContent")
    assert opened.run("document.querySelectorAll('#table tr.best').length") == 0
    assert opened.errors == []


def test_it_works_by_keyboard(opened: Browser) -> None:
    """Cells by the arrow keys, each with its measurement; a group's runs by Enter; a chart by + and 0."""
    opened.run("document.querySelector('#table tbody th button').focus()")
    assert opened.run("document.activeElement.closest('#table') !== null")
    opened.press("ArrowRight")
    opened.press("ArrowRight")
    tip = opened.run("document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent")
    for word in ("by seed", "samples1000", "reference.hashbbbbbbbb", "features.namedomain", "setting solverEuler()"):
        assert word in tip, tip
    assert opened.run("document.activeElement.getAttribute('aria-describedby')") == "tip"
    opened.press("Escape")
    assert opened.run("document.getElementById('tip').hidden")
    opened.press("ArrowLeft")
    opened.press("ArrowLeft")
    opened.press("Enter")
    assert opened.run("document.querySelectorAll('#table tr.run').length") == 6
    assert opened.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    width = "document.querySelector('#curves .js-plotly-plot')._fullLayout.xaxis.range.reduce((a, b) => b - a)"
    before = opened.run(width)
    opened.run("document.querySelector('#curves .js-plotly-plot').focus()")
    opened.press("+")
    assert opened.run(width) == pytest.approx(0.7 * before)
    opened.press("0")
    opened.wait(f"Math.abs({width} - {before}) < 1e-6 * {before}")
    assert opened.errors == []


def test_everything_has_a_name(opened: Browser) -> None:
    nameless: Any = opened.run(
        "[...document.querySelectorAll('button, select, input, img, [role=group], [role=region]')].filter((one) =>"
        " !(one.getAttribute('aria-label') || one.alt || one.textContent.trim() || (one.labels && one.labels.length)"
        " || one.querySelector('img[alt]'))).map((one) => one.outerHTML.slice(0, 200))"
    )
    assert nameless == []
    levels = opened.run("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(shown: Browser, page: Path, width: int, dark: bool) -> None:
    """No sideways scrolling at a phone's width; text stands out by more than the 4.5 that WCAG asks for."""
    shown.look(width, 844, dark)
    shown.open(page)
    assert shown.run("document.documentElement.scrollWidth") <= width
    contrast = """(() => {
      const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return ["body", ".hint", ".state", ".verdict", ".note"].map((name) => {
        const ink = light(getComputedStyle(document.querySelector(name)).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      });
    })()"""
    assert min(shown.run(contrast)) > 4.5
    paper = shown.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)")
    assert shown.errors == []


def test_a_thousand_runs(shown: Browser, tmp_path: Path) -> None:
    """Read and written in ten seconds of processor time and a gigabyte; the page opens and filters in two."""
    generator = np.random.default_rng(0)
    for width in range(10):
        for depth in range(5):
            for path in ("CondOT", "Cosine", "VP", "VE"):
                base = generator.normal()
                for seed in range(5):
                    own = config(path, seed, width=32 * (width + 1), depth=depth + 1)
                    final, nfe = 10 + base + 0.1 * generator.normal(), (5, 10, 20) if depth == 0 else ()
                    write_run(
                        tmp_path, final, seed=seed, configuration=own, validations=20, reports=100, nfe=nfe, grid=True
                    )
    file = tmp_path / "page.html"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        "import re, sys; from fmlab.__main__ import main; code = main(sys.argv[1:]);"
        # Not what getrusage says: that begins with the memory of the process that started this one.
        "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "compare", str(tmp_path / "made"), "--out", str(file)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    assert int(output.split("peak ")[1]) / 2**20 < 1
    assert file.stat().st_size < 8 * 2**20
    shown.look()
    shown.open(file)
    assert shown.run("document.querySelectorAll('#table tbody tr').length") == 100

    def busy() -> float:
        """Seconds that the page's main thread has worked: what opening takes where nothing else runs."""
        values = {one["name"]: one["value"] for one in shown.send("Performance.getMetrics")["metrics"]}
        return float(values["TaskDuration"])

    shown.send("Performance.enable", timeDomain="threadTicks")
    shown.open(file)
    opening = busy()
    write(shown, "path=VP")
    filtering = busy() - opening
    assert shown.run("document.getElementById('found').value") == "50 of 200 groups"
    print(f"opening {opening:.2f} s, filtering {filtering:.2f} s of the page's thread")
    assert opening < 2
    assert filtering < 2
    assert shown.errors == []
