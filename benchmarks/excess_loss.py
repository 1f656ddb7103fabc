"""How much of a trained network's loss is its own? `python benchmarks/excess_loss.py RUN [--num_samples 65536]`

The loss of a perfect network is not 0: it is the floor, the variance of the regression target given the noised image.
The exact field of the whole training set (a softmax over its images, by class) is known, so both parts are measured on
the same draws as training makes: the floor, and the excess E |u_theta - u_exact|^2 that training could still gain.

Printed, written into docs/results.md between markers, and drawn as docs/excess_digits.png: both by time, with standard
errors. `loss - floor` estimates the excess a second time, from the conditional targets; that both agree is the check
that the exact field is what training regresses on.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_page import RESULTS, write_section

from fmlab.inference.load import load_module
from fmlab.objectives import Mean, MeansByTime
from fmlab.records import find_run
from fmlab.training.exact_law import exact_law
from fmlab.training.loss_floor import ExcessLoss

COLUMNS = ("loss", "floor", "excess", "difference")


def measure(module: Any, data: Any, num_samples: int, batch_size: int, device: torch.device) -> MeansByTime:
    """The terms of the loss of a module's network on freshly computed draws."""
    module = module.to(device).eval()
    terms = ExcessLoss(module, data, exact_law(module, data, "run"), num_samples, batch_size, repeated=False)
    return terms.measure(module.network, device)


def shown(mean: Mean) -> str:
    """A mean with its standard error to two digits, five decimals at most: `0.1234 ± 0.0012`."""
    if not math.isfinite(mean.error):
        return ""
    digits = min(5, max(1, 1 - math.floor(math.log10(mean.error)))) if mean.error > 0 else 5
    return f"{mean.value:.{digits}f} ± {mean.error:.{digits}f}"


def table(means: MeansByTime) -> str:
    """One row a bin of t, and one of all draws."""
    lines = ["| t | draws | loss | floor | excess | loss - floor |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    columns = [means.by_bin(name) for name in COLUMNS]
    for index, row in enumerate(zip(*columns)):
        bounds = f"{index / means.bins:.1f} to {(index + 1) / means.bins:.1f}"
        lines.append(f"| {bounds} | {row[0].draws:,} | " + " | ".join(map(shown, row)) + " |")
    overall = [means.overall(name) for name in COLUMNS]
    lines.append(f"| all | {overall[0].draws:,} | " + " | ".join(map(shown, overall)) + " |")
    return "\n".join(lines)


def draw(means: MeansByTime, file: Path) -> None:
    """Loss and floor by time, and beside them the excess."""
    figure = Figure(figsize=(8, 3.2), dpi=150)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    middles = [(index + 0.5) / means.bins for index in range(means.bins)]

    def line(axes: Any, name: str, colour: str, label: str) -> None:
        bins = means.by_bin(name)
        values, errors = [mean.value for mean in bins], [2 * mean.error for mean in bins]
        axes.errorbar(middles, values, yerr=errors, color=colour, marker="o", markersize=3, capsize=2, label=label)

    line(left, "loss", "#1f6feb", "network")
    line(left, "floor", "#808080", "exact field: the floor")
    line(right, "excess", "#d1242f", "excess")
    left.set_ylabel("loss an entry")
    right.set_ylabel("excess an entry")
    right.set_yscale("log")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("t (0 noise, 1 data)")
        axes.set_xlim(0, 1)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def section(means: MeansByTime, setting: str, command: str, figure: str) -> str:
    """The Markdown section."""
    loss, floor, excess = (means.overall(name).value for name in ("loss", "floor", "excess"))
    parts = f"Of the loss of {loss:.4f} here, {floor:.4f} is floor and {excess:.4f} excess ({excess / loss:.0%})."
    return f"""## How much of the loss is the network's own?

The loss a perfect network would have is not 0. On the draws of training (same times, label dropout and flips) it is the
floor; what the network loses beyond it is its squared distance from the exact field of the whole training set.
{parts}

These are means per entry, with standard errors (two of them in the picture). `loss - floor` estimates the excess a
second time, from the targets of training instead of the exact field.

The exact field draws nothing but training images (`fmlab sample RUN --exact`). Near t = 1, where its floor vanishes,
part of the excess is therefore what lets a network draw new images: an excess of 0 is not the goal.

{setting}

![loss, floor and excess by time]({figure})

{table(means)}

    {command}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--checkpoint", default="best")
    parser.add_argument("--weights", choices=["averaged", "raw"], default="averaged")
    parser.add_argument("--num_samples", type=int, default=65_536)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the page (docs/results.md)")
    parser.add_argument("--figure", default="excess_digits.png", help="the picture's name beside the page")
    options = parser.parse_args()
    layout = find_run(options.run)
    loaded = load_module(layout, options.checkpoint, options.weights)
    module, data = loaded.module, loaded.data()
    means = measure(module, data, options.num_samples, options.batch_size, torch.device(options.device))
    setting = (
        f"`{layout.experiment}`, step {loaded.origin.step:,}, {options.weights} weights: {module.path!r},\n"
        f"times from {module.time_sampler!r}, label dropout {module.label_dropout:g},\n"
        f"{len(data.split('train')):,} training examples."
    )
    print(setting)
    print(table(means))
    draw(means, options.results.parent / options.figure)
    command = f"python benchmarks/excess_loss.py {layout.experiment} --num_samples {options.num_samples}"
    write_section("excess_loss", section(means, setting, command, options.figure), options.results)
    print(f"written to {options.results} and {options.results.parent / options.figure}")


if __name__ == "__main__":
    main()
