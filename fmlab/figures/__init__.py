"""What people look at: grids of samples."""

from fmlab.figures.grids import image_grid, point_cloud, save_png

__all__ = ["image_grid", "point_cloud", "save_png"]
