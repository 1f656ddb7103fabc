"""A picture of the samples that lie nearest to training images, beside those."""

from __future__ import annotations

from pathlib import Path

from fmlab.evaluation.cells import Cell
from fmlab.evaluation.generation import Generation
from fmlab.evaluation.neighbour_scores import NeighbourScores
from fmlab.evaluation.scores import TogetherScores
from fmlab.figures import neighbours_picture, save_png

SHOWN = 12
PREFIX = "neighbours_"


def write_closest(folder: Path, generation: Generation, cell: Cell, key: str) -> None:
    """Writes `neighbours_SOLVER_KEY.png`, where neighbours of images were measured: the samples are made once more.

    Args:
        folder: The evaluation's.
        generation: What made and measured all samples.
        cell: How.
        key: The cell's.
    """
    scores = generation.scores
    parts = scores.parts if isinstance(scores, TogetherScores) else [scores]
    for part in parts:
        if isinstance(part, NeighbourScores) and generation.images:
            places, nearest, distances = part.closest(SHOWN)
            samples, _ = generation.made(cell, places)
            name = f"{PREFIX}{type(cell.solver).__name__}{cell.steps}_{key[:6]}.png"
            save_png(neighbours_picture(samples, nearest, distances), folder / name)
