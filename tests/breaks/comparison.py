"""Breaks of the room `comparison`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "only the pairs with the best one as a family",
        "comparison/statistics.py",
        "p[tested] = holm(p_value(means[tested] / errors[tested], counts[tested] - 1))",
        "tested &= (first == best) | (second == best)\n"
        "    p[tested] = holm(p_value(means[tested] / errors[tested], counts[tested] - 1))",
        "tests/comparison/test_statistics.py",
    ),
    Mutant(
        "intervals that hold one by one",
        "comparison/statistics.py",
        "quantile(1 - (1 - LEVEL) / family / 2, pairs - 1)",
        "quantile(1 - (1 - LEVEL) / 2, pairs - 1)",
        "tests/comparison/test_statistics.py",
    ),
    Mutant(
        "Holm without its memory",
        "comparison/statistics.py",
        "np.minimum(np.maximum.accumulate(stepped), 1.0)",
        "np.minimum(stepped, 1.0)",
        "tests/comparison/test_statistics.py",
    ),
    Mutant(
        "a claim of four pairs",
        "comparison/statistics.py",
        "MIN_PAIRS = 5",
        "MIN_PAIRS = 4",
        "tests/comparison/test_statistics.py",
    ),
    Mutant(
        "one lucky seed is the best",
        "comparison/statistics.py",
        "np.where(enough, means, np.inf) if enough.any() else means",
        "means",
        "tests/comparison/test_statistics.py",
    ),
    Mutant(
        "unfinished runs are counted",
        "comparison/groups.py",
        "for run in sorted((run for run in runs if run.done), key=",
        "for run in sorted(runs, key=",
        "tests/comparison/test_groups.py",
    ),
    Mutant(
        "all measurements are one",
        "comparison/groups.py",
        "else json.dumps(record, sort_keys=True, default=str)",
        'else "alike"',
        "tests/comparison/test_groups.py",
    ),
    Mutant(
        "losses of all objectives are one quantity",
        "comparison/metrics.py",
        'return {"objective": objective} if',
        'return {"objective": logged} if',
        "tests/comparison/test_groups.py",
    ),
    Mutant(
        "arguments of another class differ",
        "comparison/configs.py",
        "return not parent or len({_frozen(one.get(parent)) for one in configurations}) == 1",
        "return True",
        "tests/comparison/test_groups.py",
    ),
    Mutant(
        "a title that is markup",
        "comparison/page/__init__.py",
        '"title": html.escape(title)',
        '"title": title',
        "tests/comparison/test_page.py",
    ),
    Mutant(
        "a step counted as one forward",
        "comparison/costs.py",
        "BACKWARD = 3",
        "BACKWARD = 1",
        "tests/comparison/test_groups.py",
    ),
    Mutant(
        "TensorBoard without being asked",
        "commands/fit.py",
        'if TensorboardOptions(**(config.get("tensorboard") or {})).enabled:',
        "if True:",
        "tests/runs/test_tensorboard.py",
    ),
]
