"""A diagnosis as one figure of four panels: network, solver, distance from real data, nearest neighbours."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import torch

from fmlab.diagnosis.diagnose import Diagnosis
from fmlab.diagnosis.distance import Distances
from fmlab.diagnosis.memory import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, SolverError

OWN, EXACT, WRONG, OTHER, REAL = "#1f6feb", "#24292f", "#d1242f", "#8250df", "#808080"


def diagnosis_picture(diagnosis: Diagnosis, title: str) -> np.ndarray:
    """The four panels over the verdict, uint8 of shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.6), dpi=130)
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    found, unknown = diagnosis.findings, diagnosis.unknown
    if found.model is not None:
        draw_model(panels[0, 0], found.model)
    if found.solver is not None and found.converged is not None:
        draw_solver(panels[0, 1], found.solver, found.converged, found.solver_name, found.images)
    if found.distances is not None:
        draw_distances(panels[1, 0], found.distances, found.other_scale)
    if found.neighbours is not None:
        draw_neighbours(panels[1, 1], found.neighbours, found.images)
    names = (
        ("model error: excess loss by time", ("model",)),
        ("solver error", ("solver", "converged")),
        ("distance from real data", ("distances", "samples", "converged")),
        ("memorisation: nearest training neighbours", ("neighbours", "samples", "converged")),
    )
    for axes, (name, parts) in zip(panels.flat, names):
        axes.set_title(name, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        missing = next((unknown[part] for part in parts if part in unknown), None)
        if missing is not None and not axes.has_data():
            axes.set(xticks=[], yticks=[])
            text = "not known:\n" + textwrap.fill(missing, 44)
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, color=REAL, transform=axes.transAxes)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left")
    verdict = textwrap.fill(diagnosis.verdict.text, 150)
    figure.text(0.02, 0.015, verdict, fontsize=9, va="bottom", linespacing=1.4)
    lines = verdict.count("\n") + 1
    figure.tight_layout(rect=(0, 0.025 + 0.024 * lines, 1, 0.99), h_pad=2, w_pad=2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_model(axes: Any, model: ModelError) -> None:
    """Loss and floor by time as lines, and the excess between them as bars."""
    means = model.means
    middles = (np.arange(means.bins) + 0.5) / means.bins
    # The floor is the broader line and below, so that it is seen where a network reaches it.
    looks = (("floor", "#c0c0c0", "exact field: the floor", 4.0), ("loss", OWN, "network", 1.2))
    for name, colour, label, width in looks:
        found = means.by_bin(name)
        bars = {"yerr": [2 * mean.error for mean in found], "elinewidth": 1.2, "capsize": 2}
        values = [mean.value for mean in found]
        axes.errorbar(middles, values, **bars, color=colour, linewidth=width, marker="o", markersize=3, label=label)
    excess = means.by_bin("excess")
    colours = [WRONG if open_ else "#e8b3b3" for open_ in model.undecided]
    axes.bar(middles, [mean.value for mean in excess], 0.8 / means.bins, color=colours, alpha=0.55, label="excess")
    for middle, share in zip(middles, model.relative_by_bin):
        if np.isfinite(share):
            text = f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
            axes.annotate(text, (middle, 0), (0, 6), textcoords="offset points", ha="center", fontsize=7)
    axes.set(xlabel="$t$ (0 noise, 1 data); figures: excess as a share of $E|u|^2$", ylabel="loss an entry")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.xaxis.label.set_size(8)
    axes.yaxis.label.set_size(8)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles, labels, fontsize=8, frameon=False, loc="best")


def draw_solver(axes: Any, solver: SolverError, converged: Converged, name: str, images: bool) -> None:
    """Error against network forwards, both logarithmic: the run's own solver, and others at its cost."""
    scale = 127.5 if images else 1.0
    points = [solve for solve in solver.scan if solve.error > 0]
    axes.plot([p.nfe for p in points], [scale * p.error for p in points], color=OWN, marker="o", markersize=4)
    own = solver.own
    axes.plot(
        [own.nfe], [scale * own.error], "o", color=OWN, markersize=10, fillstyle="none", label=f"{name}, the run's"
    )
    for (other, solve), marker in zip(solver.others.items(), "s^Dv"):
        axes.plot([solve.nfe], [scale * solve.error], marker, color=OTHER, markersize=5, label=other)
    lines = [(converged.spread / 10, "a tenth of the distance between samples")]
    lines += [(converged.unit, "1/255")] if images else [(converged.unit, "1/255 of it")]
    axes.set(xscale="log", yscale="log", xlabel="network forwards a sample")
    axes.set_ylabel("RMS a pixel, of 255" if images else "RMS a coordinate")
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    for height, label in lines:
        axes.axhline(scale * height, color=EXACT, linewidth=0.8, linestyle=(0, (4, 3)))
        place = {"ha": "right", "va": "bottom", "transform": axes.get_yaxis_transform()}
        axes.text(0.99, 1.04 * scale * height, label, fontsize=7, bbox=paper, zorder=1, **place)
    ticks = sorted({solve.nfe for solve in solver.scan})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.xaxis.label.set_size(8)
    axes.yaxis.label.set_size(8)
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.85, loc="lower left")


def draw_distances(axes: Any, distances: Distances, other_scale: float | None) -> None:
    """One bar a set, from the floor up."""
    names = {
        "floor": "real against real:\nthe floor",
        "converged": "network,\nno solver error",
        "own": "the run's\nsampler",
    }
    colours = {"floor": REAL, "converged": WRONG, "own": OWN, "other": OTHER}
    if other_scale is not None:
        names["other"] = f"the same,\nguidance {other_scale:g}"
    values = {name: distances.value(name) for name in names}
    bars = axes.bar(
        list(names.values()),
        [value.mean for value in values.values()],
        0.6,
        yerr=[value.error for value in values.values()],
        color=[colours[name] for name in names],
        alpha=0.75,
        capsize=3,
    )
    axes.bar_label(bars, [f"{value.mean:.3g}" for value in values.values()], fontsize=8, padding=2)
    axes.margins(y=0.15)
    axes.set_ylabel(f"{distances.key}, {distances.n} against {distances.n}", fontsize=8)


def draw_neighbours(axes: Any, neighbours: Neighbours, images: bool) -> None:
    """Histograms of the distances of samples and of held-out examples, as shares."""
    kinds = (
        (neighbours.held_out, REAL, "new real examples"),
        (neighbours.distances, OWN, "samples, no solver error"),
    )
    top = max(float(torch.quantile(distances.double(), 0.995)) for distances, _, _ in kinds)
    edges = np.linspace(0, 1.05 * top or 1.0, 41)
    heights = []
    for distances, colour, label in kinds:
        weights = np.full(len(distances), 1 / len(distances))
        shares, _, _ = axes.hist(distances.numpy(), edges, weights=weights, color=colour, alpha=0.5, label=label)
        axes.axvline(float(distances.quantile(0.5)), 0, 0.72, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
        heights.append(float(shares.max()))
    # Copies are one bar, cut off above, or nothing else would be seen; the legend has the room over it all.
    axes.set_ylim(0, 1.4 * max(heights[0], min(heights[1], 2 * heights[0])))
    summary = neighbours.summary
    axes.plot([], [], " ", label=f"ratio of medians {summary.ratio:.2f} ± {summary.ratio_error:.2f}")
    unit = "RMS a pixel, of 255" if images else "RMS a coordinate"
    axes.set_xlabel(f"distance from the nearest training example ({unit})", fontsize=8)
    axes.set_ylabel("share", fontsize=8)
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.85, loc="upper right")
