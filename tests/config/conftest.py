"""The folder with a small configuration of real parts."""

from helpers.points_folder import _import_state, folder  # noqa: F401
