"""A trained run on digits and one on points, made once a process, and a cache of their own."""

from helpers.trained_runs import _own_cache, cache, digits, run, toy, toy_run  # noqa: F401
