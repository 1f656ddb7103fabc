"""Everything that people look at: the theory's pictures, grids of samples, curves of quality."""

from fmlab.figures.canvas import pixels, save_figure, save_film, save_png
from fmlab.figures.curves import QualityCurve, draw_curves
from fmlab.figures.images import image_grid, image_rows, neighbours_picture, point_cloud
from fmlab.figures.process_figure import choose_starts, draw_simulation, simulate
from fmlab.figures.processes import BrownianMotion, Langevin, LinearODE, OrnsteinUhlenbeck, Process
from fmlab.figures.scene import ImageScene, Scene
from fmlab.figures.scene_panels import field_panels, flow_panels, path_panels, trajectory_panels

__all__ = [
    "BrownianMotion",
    "ImageScene",
    "Langevin",
    "LinearODE",
    "OrnsteinUhlenbeck",
    "Process",
    "QualityCurve",
    "Scene",
    "choose_starts",
    "draw_curves",
    "draw_simulation",
    "field_panels",
    "flow_panels",
    "image_grid",
    "image_rows",
    "neighbours_picture",
    "path_panels",
    "pixels",
    "point_cloud",
    "save_figure",
    "save_film",
    "save_png",
    "simulate",
    "trajectory_panels",
]
