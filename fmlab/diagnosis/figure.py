"""A diagnosis as one figure of four panels: network, solver, distance from real data, nearest neighbours."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import torch

from fmlab.diagnosis.diagnose import Diagnosis
from fmlab.diagnosis.distance import Distances
from fmlab.diagnosis.memorisation import Neighbours
from fmlab.diagnosis.model import ModelError
from fmlab.diagnosis.solver import Converged, SolverError
from fmlab.figures.canvas import new_figure, pixels

OWN, EXACT, WRONG, OTHER, REAL = "#1f6feb", "#24292f", "#d1242f", "#8250df", "#808080"
TITLES = {
    "model": "model error: excess loss by time",
    "solver": "solver error",
    "distances": "distance from real data",
    "neighbours": "memorisation: nearest training neighbours",
}


def draw_diagnosis(diagnosis: Diagnosis, title: str) -> np.ndarray:
    """Draws the four panels over the verdict, as uint8 of shape (height, width, 3)."""
    figure = new_figure(10, 7.6, dpi=130, layout=None)
    panels, findings = figure.subplots(2, 2), diagnosis.findings
    if findings.model is not None:
        draw_model(panels[0, 0], findings.model)
    if findings.solver is not None and findings.converged is not None:
        draw_solver(panels[0, 1], findings.solver, findings.converged, findings.solver_name, findings.images)
    if findings.distances is not None:
        draw_distances(panels[1, 0], findings.distances, findings.other_scale)
    if findings.neighbours is not None:
        draw_neighbours(panels[1, 1], findings.neighbours, findings.images)
    for axes, (part, name) in zip(panels.flat, TITLES.items()):
        axes.set_title(name, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        reason = diagnosis.reason(part)
        if reason is not None and not axes.has_data():
            axes.set(xticks=[], yticks=[])
            text = "not known:\n" + textwrap.fill(reason, 44)
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, color=REAL, transform=axes.transAxes)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left")
    verdict = textwrap.fill(diagnosis.verdict.text, 150)
    figure.text(0.02, 0.015, verdict, fontsize=9, va="bottom", linespacing=1.4)
    lines = verdict.count("\n") + 1
    figure.tight_layout(rect=(0, 0.025 + 0.024 * lines, 1, 0.99), h_pad=2, w_pad=2)
    return pixels(figure)


def draw_model(axes: Any, model: ModelError) -> None:
    """Draws loss and floor by time as lines, and the excess between them as bars."""
    means = model.means
    middles = (np.arange(means.bins) + 0.5) / means.bins
    # The floor is the broader line and below, so that it is seen where a network reaches it.
    looks = (("floor", "#c0c0c0", "exact field (loss floor)", 4.0), ("loss", OWN, "network", 1.2))
    for name, colour, label, width in looks:
        by_bin = means.by_bin(name)
        look = {"color": colour, "linewidth": width, "marker": "o", "markersize": 3, "elinewidth": 1.2, "capsize": 2}
        axes.errorbar(middles, [m.value for m in by_bin], yerr=[2 * m.error for m in by_bin], label=label, **look)
    excess = means.by_bin("excess")
    colours = [WRONG if is_undecided else "#e8b3b3" for is_undecided in model.undecided]
    axes.bar(middles, [mean.value for mean in excess], 0.8 / means.bins, color=colours, alpha=0.55, label="excess")
    for middle, share in zip(middles, model.relative_by_bin):
        if np.isfinite(share):
            text = f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"
            axes.annotate(text, (middle, 0), (0, 6), textcoords="offset points", ha="center", fontsize=7)
    axes.set_xlabel("$t$ (0 noise, 1 data); percentages: excess loss as a share of $E|u|^2$", fontsize=8)
    axes.set_ylabel("loss per entry", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False, loc="best")


def draw_solver(axes: Any, solver: SolverError, converged: Converged, name: str, images: bool) -> None:
    """Draws error against network forwards, both logarithmic: the run's own solver, and others at its cost."""
    scale, own = 127.5 if images else 1.0, solver.own
    points = [solve for solve in solver.scan if solve.error > 0]
    axes.plot([p.nfe for p in points], [scale * p.error for p in points], color=OWN, marker="o", markersize=4)
    circle = {"color": OWN, "markersize": 10, "fillstyle": "none", "label": f"{name}, this run's steps"}
    axes.plot([own.nfe], [scale * own.error], "o", **circle)
    for (other, solve), marker in zip(solver.others.items(), "s^Dv"):
        axes.plot([solve.nfe], [scale * solve.error], marker, color=OTHER, markersize=5, label=other)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("network forwards per sample", fontsize=8)
    axes.set_ylabel("RMS error per pixel, of 255" if images else "RMS error per coordinate", fontsize=8)
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    corner = {"ha": "right", "va": "bottom", "transform": axes.get_yaxis_transform()}
    limits = {"a tenth of the distance between samples": converged.spread / 10}
    limits["1/255" if images else "1/255 of the distance between samples"] = converged.unit
    for label, height in limits.items():
        axes.axhline(scale * height, color=EXACT, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.text(0.99, 1.04 * scale * height, label, fontsize=7, bbox=paper, zorder=1, **corner)
    ticks = sorted({solve.nfe for solve in solver.scan})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.85, loc="lower left")


def draw_distances(axes: Any, distances: Distances, other_scale: float | None) -> None:
    """Draws one bar a set, with the real-vs-real distance first."""
    bars = {
        "real": ("real\nvs real", REAL),
        "converged": ("without\nsolver error", WRONG),
        "own": ("this run's\nsampler", OWN),
    }
    if other_scale is not None:
        bars["other"] = (f"the same,\nguidance {other_scale:g}", OTHER)
    values = [distances.value(name) for name in bars]
    drawn = axes.bar(
        [label for label, _ in bars.values()],
        [value.mean for value in values],
        0.6,
        yerr=[value.error for value in values],
        color=[colour for _, colour in bars.values()],
        alpha=0.75,
        capsize=3,
    )
    axes.bar_label(drawn, [f"{value.mean:.3g}" for value in values], fontsize=8, padding=2)
    axes.margins(y=0.15)
    axes.set_ylabel(f"{distances.key}, {distances.n} against {distances.n}", fontsize=8)


def draw_neighbours(axes: Any, neighbours: Neighbours, images: bool) -> None:
    """Draws histograms of the distances of samples and of held-out examples, as shares."""
    sets = (
        (neighbours.held_out, REAL, "unseen real examples"),
        (neighbours.distances, OWN, "samples without solver error"),
    )
    top = max(float(torch.quantile(distances.double(), 0.995)) for distances, _, _ in sets)
    edges = np.linspace(0, 1.05 * top or 1.0, 41)
    heights = []
    for distances, colour, label in sets:
        weights = np.full(len(distances), 1 / len(distances))
        shares, _, _ = axes.hist(distances.numpy(), edges, weights=weights, color=colour, alpha=0.5, label=label)
        axes.axvline(float(distances.quantile(0.5)), 0, 0.72, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
        heights.append(float(shares.max()))
    # Copies are one bar, which is cut off, or nothing else would be seen; the legend takes the room above.
    axes.set_ylim(0, 1.4 * max(heights[0], min(heights[1], 2 * heights[0])))
    summary = neighbours.summary
    axes.plot([], [], " ", label=f"ratio of medians {summary.ratio:.2f} ± {summary.ratio_error:.2f}")
    unit = "RMS per pixel, of 255" if images else "RMS per coordinate"
    axes.set_xlabel(f"distance to the nearest training example ({unit})", fontsize=8)
    axes.set_ylabel("share", fontsize=8)
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.85, loc="upper right")
