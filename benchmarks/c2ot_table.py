"""C2OT's two-moons table, trained anew: `python benchmarks/c2ot_table.py [--seeds 2 --rows OT C2OT --columns class]`

How transport between data and noise works out for models that have a condition (Cheng and Schwing, ICCV 2025). Finished
cells stay in a journal: a stopped command continues with the missing ones. It writes the table into docs/results.md.
`--matchings 250` spares nineteen twentieths of the matching.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from c2ot_cells import (
    BATCH,
    COLUMNS,
    DEPTH,
    FIRST_WEIGHTS,
    FLOOR,
    MATCHED,
    PUBLISHED,
    RATIO,
    ROWS,
    TOLERANCE,
    VARIANTS,
    WIDTH,
    Settings,
    exists,
    measure,
)
from results_page import RESULTS, markdown_table, write_section
from table_journal import Cell, TableJournal, cost, distance, spread

HERE = Path(__file__).parent
HEADER = ["condition", "coupling", "seeds", "Euler-1 published", "here", "off", "adaptive published", "here", "off"]


def run(journal: TableJournal, rows: list[str], columns: list[str], seeds: int, settings: Settings) -> None:
    """Measures every cell that the journal has not; all cells of a seed come before the next seed."""
    for seed in range(seeds):
        for column in columns:
            for row in rows:
                if exists(row, column):
                    cell = Cell(row, column, seed, asdict(settings.for_row(row)))
                    journal.measure(cell, lambda: measure(row, column, seed, settings))  # noqa: B023 - called at once


def table(journal: TableJournal, settings: Settings) -> str:
    """One line a cell, the published figures beside ours."""
    lines = []
    for column in COLUMNS:
        for row in [*ROWS, *VARIANTS]:
            results = journal.of(row, column, asdict(settings.for_row(row)))
            if results:
                line = [column, row, str(len(results))]
                for name in ("euler", "adaptive"):
                    values = [one["values"][name] for one in results]
                    published = PUBLISHED.get((row, column), {}).get(name)
                    line += [str(published or ""), spread(values), distance(values, published)]
                nfe = sum(one["values"]["adaptive_nfe"] for one in results) / len(results)
                lines.append([*line, f"{nfe:.0f}", f"{cost(results):.0f}"])
    return markdown_table([*HEADER, "NFE", "core s"], lines)


def section(journal: TableJournal, settings: Settings) -> str:
    """The section of docs/results.md."""
    real = [one["values"]["w2_squared"] for one in journal.of(FLOOR, COLUMNS[0], asdict(settings.for_row(FLOOR)))]
    floor = f" Between two sets of real data of that size: {spread(real)}." if real else ""
    return f"""## Published table: couplings under a condition (C2OT)

The squared 2-Wasserstein distance to two moons, from eight Gaussians, of the two-moons table of Cheng and Schwing
(ICCV 2025, C2OT), mean and standard deviation over seeds, trained anew with this package's couplings and solvers.
`off` is the difference of our mean from theirs in their standard deviations, `NFE` that of the adaptive solve until the
slowest point is done, `core s` the seconds of one core that a cell took.{floor}

Setting: a residual network of width {WIDTH} with {DEPTH} blocks, four times wider inside, GELU; Adam, learning rate
3e-4, {settings.steps:,} steps of {BATCH}; float32, one thread; the last weights; seeds from 0. {settings.points:,} test
points; one Euler step, and Dopri5 at tolerance {TOLERANCE:g} with a step size a point. Transport (`MinibatchOT`,
`ConditionalOT`) matches {MATCHED} pairs for four steps; the pairs of the first {settings.for_row("OT").matchings:,}
matchings come again, in a new order and at new times, after that. C2OT is `ConditionalOT()` for the class and
`ConditionalOT(target_ratio={RATIO})` for the x coordinate of the target. FM's data come moon by moon and along each,
as in the published script, so that each of its batches is a half of one moon. The last layer begins at zero, and in
rows called `{FIRST_WEIGHTS.strip(", ")}` as in the published script.

{table(journal, settings)}

    python benchmarks/c2ot_table.py"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=[FLOOR, *ROWS, *VARIANTS], default=[FLOOR, *ROWS])
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS)
    parser.add_argument("--seeds", type=int, default=10, help="how many, from 0 on")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--matchings", type=int, default=Settings.matchings, help="of 1024 new pairs each")
    parser.add_argument("--points", type=int, default=Settings.points, help="to test on")
    parser.add_argument("--journal", type=Path, default=HERE / "tables" / "c2ot.jsonl")
    parser.add_argument("--page", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    settings, journal = Settings(chosen.steps, chosen.matchings, chosen.points), TableJournal(chosen.journal)
    rows = [row for row in [FLOOR, *ROWS, *VARIANTS] if row in chosen.rows]
    run(journal, rows, chosen.columns, chosen.seeds, settings)
    write_section("c2ot_table", section(journal, settings), chosen.page)
    print(f"written into {chosen.page}")


if __name__ == "__main__":
    main()
