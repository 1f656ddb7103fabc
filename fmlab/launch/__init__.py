"""Sweeps, here or through Weights & Biases, and submission to a cluster. Nothing heavy is imported with the package."""

"""Runs on a cluster."""
