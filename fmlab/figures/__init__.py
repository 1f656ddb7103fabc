"""What people look at: grids of samples, paths of processes, curves of quality."""

from fmlab.figures.curves import Curve, curves
from fmlab.figures.grids import image_grid, point_cloud, save_png
from fmlab.figures.neighbours import neighbours_picture
from fmlab.figures.processes import paths_in_plane, paths_in_time

__all__ = [
    "Curve",
    "curves",
    "image_grid",
    "neighbours_picture",
    "paths_in_plane",
    "paths_in_time",
    "point_cloud",
    "save_png",
]
