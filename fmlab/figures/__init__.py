"""What people look at: the theory's pictures, grids of samples, curves of quality."""

from fmlab.figures.convergence import Convergence, convergence_figure
from fmlab.figures.curves import Curve, curves
from fmlab.figures.grids import image_grid, point_cloud, save_png
from fmlab.figures.image_rows import image_rows
from fmlab.figures.neighbours import neighbours_picture
from fmlab.figures.panel import Arrows, Panel, Trails, Window
from fmlab.figures.processes import paths_in_plane, paths_in_time
from fmlab.figures.scene import Scene
from fmlab.figures.scene_panels import field_panels, flow_panels, path_panels, trajectory_panels
from fmlab.figures.sheet import MOVING, STILL, check_suffix, pixels, save_figure, save_film, sheet

__all__ = [
    "MOVING",
    "STILL",
    "Arrows",
    "Convergence",
    "Curve",
    "Panel",
    "Scene",
    "Trails",
    "Window",
    "check_suffix",
    "convergence_figure",
    "curves",
    "field_panels",
    "flow_panels",
    "image_grid",
    "image_rows",
    "neighbours_picture",
    "path_panels",
    "paths_in_plane",
    "paths_in_time",
    "pixels",
    "point_cloud",
    "save_figure",
    "save_film",
    "save_png",
    "sheet",
    "trajectory_panels",
]
