"""The commands of the published tables: a cell of few steps, the journal, and what they compare with."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fmlab.metrics.transport import wasserstein2

NAMES = ("sf2m_table", "sf2m_cells", "c2ot_table", "c2ot_cells", "toy_training", "table_journal", "results_page")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in NAMES:
        sys.modules.pop(name, None)


def command(monkeypatch: pytest.MonkeyPatch, table: str, arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [table, *arguments.split()])
    __import__(table).main()


def line_of(page: Path, *cells: str) -> list[str]:
    """The entries of the table's line that has these words."""
    (line,) = [line for line in page.read_text().splitlines() if all(f"| {word} |" in line for word in cells)]
    return [entry.strip() for entry in line.strip("|").split("|")]


def test_sf2m_writes_a_row_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, journal = tmp_path / "results.md", tmp_path / "cells" / "sf2m.jsonl"
    options = f"--points 60 --epochs 20 --matched_epochs 5 --journal {journal} --page {page} --columns N->moons --rows "
    command(monkeypatch, "sf2m_table", options + "FM OT-CFM [SF]2M-Exact RF SB-CFM --seeds 1")
    assert capsys.readouterr().out.count("s of a core") == 5
    before = journal.read_text()
    journal.write_text(before + '{"row": "FM", "colu')  # killed in the middle of a line
    command(monkeypatch, "sf2m_table", options + "FM --seeds 2")
    assert capsys.readouterr().out.count("s of a core") == 1, "only the second seed is new"
    assert journal.read_text().startswith(before)
    entries = line_of(page, "N->moons", "FM", "2")
    assert entries[3] == "0.209 ± 0.055"
    assert 0 < float(entries[4].split(" ± ")[0]) < 3
    assert entries[6] == "0.762 ± 0.099"
    assert line_of(page, "N->moons", "OT-CFM", "1")[3] == "0.130 ± 0.016"
    # Other settings are other cells.
    command(monkeypatch, "sf2m_table", options.replace("--epochs 20", "--epochs 10") + "FM --seeds 1")
    assert capsys.readouterr().out.count("s of a core") == 1


def test_c2ot_writes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "results.md"
    options = f"--points 60 --steps 8 --matchings 1 --seeds 1 --journal {tmp_path / 'c2ot.jsonl'} --page {page} "
    command(monkeypatch, "c2ot_table", options + "--rows FM C2OT --columns unconditional class")
    assert line_of(page, "unconditional", "FM")[3] == "6.232 ± 0.186"
    entries = line_of(page, "class", "C2OT")
    assert entries[3] == "0.048 ± 0.010"
    assert 0 < float(entries[4].split(" ± ")[0]) < 10
    assert int(entries[9]) >= 8
    assert "| unconditional | C2OT |" not in page.read_text()


def test_c2ots_variant_begins_as_the_published_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from c2ot_cells import Settings, fitted

    fresh = Settings(steps=0, matchings=0, points=60)
    assert not fitted("OT", "class", 0, fresh)[0].last.weight.any()
    assert fitted("OT, torch's first weights", "class", 0, fresh)[0].last.weight.std() > 0.01
    page, options = tmp_path / "results.md", ["--points", "60", "--steps", "4", "--matchings", "1", "--seeds", "1"]
    options += ["--journal", str(tmp_path / "c2ot.jsonl"), "--page", str(page), "--columns", "class", "--rows"]
    monkeypatch.setattr(sys, "argv", ["", *options, "OT", "OT, torch's first weights"])
    __import__("c2ot_table").main()
    assert line_of(page, "class", "OT, torch's first weights")[3] == line_of(page, "class", "OT")[3] == "0.483 ± 0.059"


def test_every_published_figure_has_its_place() -> None:
    import c2ot_cells
    import sf2m_cells

    for row, measures in sf2m_cells.PUBLISHED.items():
        assert row in sf2m_cells.ROWS | sf2m_cells.VARIANTS
        for cells in measures.values():
            assert all(sf2m_cells.exists(row, column) for column in cells)
    assert sf2m_cells.PUBLISHED["OT-CFM"]["npe"]["moons->8gaussians"].mean == 0.015
    assert sf2m_cells.PUBLISHED["SB-CFM"]["npe"]["N->moons"].deviation is None
    assert set(c2ot_cells.PUBLISHED) == {
        (row, column)
        for row in [*c2ot_cells.ROWS, *c2ot_cells.VARIANTS]
        for column in c2ot_cells.COLUMNS
        if c2ot_cells.exists(row, column)
    }


def test_a_variant_is_measured_beside_the_row_that_it_varies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sf2m_cells import RUNNER, Settings, _generator, method_of, validation_pairs

    page, settings = tmp_path / "results.md", Settings(20, 20, 600)
    options = ["--points", "600", "--epochs", "20", "--seeds", "1", "--columns", "N->moons", "--page", str(page)]
    rows = ["I-CFM", "I-CFM, validated anew", RUNNER]
    monkeypatch.setattr(sys, "argv", ["", *options, "--journal", str(tmp_path / "sf2m.jsonl"), "--rows", *rows])
    __import__("sf2m_table").main()
    published = line_of(page, "N->moons", "I-CFM")[3]
    assert published == line_of(page, "N->moons", "I-CFM, validated anew")[3] == "0.178 ± 0.014"
    assert line_of(page, "N->moons", RUNNER)[6] == "0.053 ± 0.038"
    # New noise at every validation, and the same points.
    generator = _generator("N->moons", 42, 0)
    usual, first, second = (
        validation_pairs("N->moons", 42, method_of(row), settings, generator) for row in (rows[0], rows[1], rows[1])
    )
    assert torch.equal(first.data, usual.data)
    assert torch.equal(second.data, usual.data)
    assert len({pairs.source[0, 0].item() for pairs in (usual, first, second)}) == 3


def test_the_runners_bridge_moves_with_its_variance() -> None:
    from sf2m_cells import RunnerBridge

    path = RunnerBridge(sigma=0.7)
    t = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((path.noise_scale(t) ** 2).sum(), t)
    assert torch.allclose(path.noise_scale_dot(t), slope)


def test_problems_have_their_published_distances() -> None:
    """Path energies of the DSBM paper over 1 + NPE give W2^2 of about 14.5, 30.5 to 34, 1.2 and 1.63."""
    from sf2m_cells import COLUMNS, points

    for column, (low, high) in zip(COLUMNS, [(13.5, 15.5), (29, 35), (1.1, 1.4), (1.5, 1.8)]):
        source, data = points(column, 42, 2, 600)
        assert low < float(wasserstein2(source, data)) ** 2 < high, column
    # The splits share no point, and noise has no mean.
    splits = [points("N->moons", 42, split, 50)[1] for split in range(3)]
    assert len(torch.cat(splits).unique(dim=0)) == 150


def test_moons_are_torchdyns() -> None:
    from c2ot_cells import CONDITIONS, MATCHED, Settings, moons, pools, source

    generator = torch.Generator().manual_seed(0)
    x, label = moons(1000, generator)
    raw = (x + 1) / 3
    first, second = raw[label == 0], raw[label == 1]
    # Noise moves along the diagonal, so the difference of the coordinates has none.
    angle = torch.linspace(0, math.pi, 500)
    torch.testing.assert_close(first[:, 0] - first[:, 1], angle.cos() - angle.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(second[:, 0] - second[:, 1], 0.5 - angle.cos() + angle.sin(), atol=1e-5, rtol=0)
    assert CONDITIONS["unconditional"](x, label) is None
    assert torch.equal(CONDITIONS["class"](x, label), 2.0 * label[:, None] - 1)  # type: ignore[arg-type]
    # A mode's standard deviation is the fourth root of 0.1.
    spread = source(20_000, generator).square().sum(1).mean() - 25
    assert float(spread) == pytest.approx(2 * 0.1**0.5, abs=0.15)
    # Pairs come again after the matchings that are paid for, in another order.
    batches = list(pools("C2OT", "x coordinate", Settings(steps=12, matchings=1), generator))
    assert [len(pairs) for pairs in batches] == [MATCHED] * 3
    ends = [torch.cat([pairs.data, pairs.source], 1).sort(0).values for pairs in batches]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(batches[0].data, batches[1].data)


def test_training_keeps_the_weights_of_the_least_validation_loss() -> None:
    from toy_training import Pairs, Problem, train

    from fmlab.networks import PlainMLP
    from fmlab.paths import SchrodingerBridge

    problem = Problem(PlainMLP((2,), width=8, outputs=2), SchrodingerBridge(), "velocity_and_score")
    losses, seen = iter([3.0, 1.0, 2.0]), []

    def check() -> float:
        seen.append({name: value.clone() for name, value in problem.network.state_dict().items()})
        return next(losses)

    pairs = Pairs(torch.randn(40, 2), torch.randn(40, 2))
    optimizer = torch.optim.Adam(problem.network.parameters(), lr=0.01)
    train(problem, iter([pairs] * 3), 20, optimizer, torch.Generator().manual_seed(0), check)
    state = problem.network.state_dict()
    assert all(torch.equal(state[name], seen[1][name]) for name in state)
    assert not all(torch.equal(state[name], seen[2][name]) for name in state)


def test_deviations_from_the_published() -> None:
    from table_journal import Published, distance, spread

    assert str(Published(0.27, 0.058)) == "0.270 ± 0.058"
    assert str(Published(1.0)) == "1.000"
    assert spread([1.0, 2.0]) == "1.500 ± 0.500"
    assert spread([1.0]) == "1.000"
    assert distance([0.2, 0.3], Published(0.2, 0.05)) == "+1.0"
    assert distance([0.2], Published(0.2)) == distance([], Published(0.2, 0.1)) == distance([0.2], None) == ""
