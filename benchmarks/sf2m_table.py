"""[SF]2M's Table 2, trained anew: `python benchmarks/sf2m_table.py [--seeds 2 --rows OT-CFM FM --columns N-\\>moons]`

2-Wasserstein distance and normalised path energy of small networks between laws on the plane (Tong et al. 2023, arXiv
2307.03672). Finished cells stay in a journal: a stopped command continues with the missing ones. It writes the table
into docs/results.md. `--matched_epochs 100` spares nine tenths of the matching, which is most of the work.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from results_page import RESULTS, markdown_table, write_section
from sf2m_cells import (
    ANEW,
    BATCH,
    CHECK_EPOCHS,
    COLUMNS,
    DEPTH,
    EULER_STEPS,
    FLOOR,
    PUBLISHED,
    ROWS,
    RUNNER,
    VARIANTS,
    WIDTH,
    Settings,
    exists,
    measure,
)
from table_journal import Cell, TableJournal, cost, distance, spread

FIRST_SEED = 42
HERE = Path(__file__).parent
HEADER = ["problem", "method", "seeds", "W2 published", "W2 here", "off", "NPE published", "NPE here", "off", "core s"]


def run(journal: TableJournal, rows: list[str], columns: list[str], seeds: int, settings: Settings) -> None:
    """Measures every cell that the journal has not; all cells of a seed come before the next seed."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for column in columns:
            for row in rows:
                if exists(row, column):
                    cell = Cell(row, column, seed, asdict(settings.for_row(row)))
                    journal.measure(cell, lambda: measure(row, column, seed, settings))  # noqa: B023 - called at once


def table(journal: TableJournal, settings: Settings) -> str:
    """One line a cell, the published figures beside ours."""
    lines = []
    for column in COLUMNS:
        for row in [FLOOR, *PUBLISHED]:
            results = journal.of(row, column, asdict(settings.for_row(row)))
            if results:
                line = [column, row, str(len(results))]
                for name in ("w2", "npe"):
                    values = [one["values"][name] for one in results if name in one["values"]]
                    published = PUBLISHED.get(row, {}).get(name, {}).get(column)
                    line += [str(published or ""), spread(values), distance(values, published)]
                lines.append([*line, f"{cost(results):.0f}"])
    return markdown_table(HEADER, lines)


def section(journal: TableJournal, settings: Settings) -> str:
    """The section of docs/results.md."""
    return f"""## Published table: [SF]2M between laws on the plane

2-Wasserstein distance (W2) and normalised path energy (NPE) of Table 2 of Tong et al. 2023 (arXiv 2307.03672), mean and
standard deviation over seeds, trained anew with this package's paths, couplings and solvers. `off` is the difference
of our mean from theirs, in their standard deviations. `{FLOOR}` is the distance between the test points and an equal
number of other points of the same law, which no model can be expected to beat; `core s` the seconds of one core that a
cell took.

Setting: {settings.points:,} points each to train, validate and test; a {DEPTH} x {WIDTH} SELU network (one more of it
for the score); AdamW, learning rate 1e-3, weight decay 1e-5, batch {BATCH}, {settings.epochs:,} epochs of
{settings.batches} steps; the weights of the least validation loss, looked at every {CHECK_EPOCHS} epochs; seeds from
{FIRST_SEED}; float32, one thread. Euler, {EULER_STEPS} steps of the ODE, from the test points of the source (W2 of
[SF]2M is that of its probability flow). NPE = |E - W| / W with the flow's energy E and the exact squared W2 of the two
test sets, W. Smoothing sigma 0.1 (I-CFM, OT-CFM, RF), sigma_min 0.1 (FM), bridges of sigma 1 ([SF]2M, SB-CFM, the
latter with entropic pairs of regularisation 2). RF trains a second network on the pairs that I-CFM's flow makes.
Transport matches each batch; the pairs of the first {settings.matched_epochs} epochs come again, in a new order and
with new times and noise, in the epochs after. Two variants of rows, as TorchCFM's runner has them: `{ANEW.strip(", ")}`
draws times, noise and pairs of every validation anew, where the other rows choose their weights by the same ones;
`{RUNNER.partition(", ")[2]}` asks for the noise times d gamma^2 / dt in place of d gamma / dt.

Problems: normal noise to eight Gaussians (radius 5, standard deviation 1), to moons (noise 0.05, times 2) and to the
S curve (noise 0.05, times 1.5); and moons of standard deviation 7 to eight Gaussians (radius 12, standard deviation
1.5), all as in TorchCFM's runner.

{table(journal, settings)}

    python benchmarks/sf2m_table.py"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=[FLOOR, *ROWS, *VARIANTS], default=[FLOOR, *ROWS])
    parser.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    parser.add_argument("--seeds", type=int, default=5, help=f"how many, from {FIRST_SEED} on")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--matched_epochs", type=int, default=Settings.matched_epochs, help="matched anew by transport")
    parser.add_argument("--points", type=int, default=Settings.points, help="to train, validate and test on, each")
    parser.add_argument("--journal", type=Path, default=HERE / "tables" / "sf2m.jsonl")
    parser.add_argument("--page", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    settings, journal = Settings(chosen.epochs, chosen.matched_epochs, chosen.points), TableJournal(chosen.journal)
    rows = [row for row in [FLOOR, *ROWS, *VARIANTS] if row in chosen.rows]
    run(journal, rows, chosen.columns, chosen.seeds, settings)
    write_section("sf2m_table", section(journal, settings), chosen.page)
    print(f"written into {chosen.page}")


if __name__ == "__main__":
    main()
