"""Breaks of the room `launch`."""

from breaks.mutant import Mutant

ENGINE = "tests/launch/test_sweep_engine.py"

MUTANTS = [
    Mutant(
        "a trial takes SLURM's task for its own",
        "launch/sweep/trial.py",
        "if name not in _OF_THE_TASK",
        "if name",
        ENGINE,
    ),
    Mutant(
        "a requeued task does not wait for its lost trial",
        "launch/sweep/worker.py",
        "if not others or time.monotonic() - idle_since > patience:",
        "if not others or trials is not None:",
        ENGINE,
    ),
    Mutant(
        "a warned task of a sweep is not requeued",
        "launch/sweep/worker.py",
        "print(requeue(), flush=True)",
        "pass",
        "tests/launch/test_slurm_sweeps.py -m slow",
    ),
    Mutant(
        "a waiting task reads the edited sweep file",
        "commands/sweep_submit.py",
        "worker_words(home / sweep.file.name,",
        "worker_words(sweep.file.resolve(),",
        "tests/launch/test_slurm_sweeps.py -m slow",
    ),
    Mutant(
        "a job may not import the parts it was submitted with",
        "commands/submit.py",
        '(" --trust" if any(foreign_names(prepared.config)) else "")',
        '""',
        "tests/commands/test_submissions.py",
    ),
    Mutant(
        "a trial that was taken over is ended by its old worker too",
        "launch/sweep/ledger.py",
        'now.state != TrialState.RUNNING or now.user_attrs.get("owner") != asdict(owner)',
        "now.state != TrialState.RUNNING",
        ENGINE,
    ),
    Mutant(
        "trials of dead workers lost",
        "launch/sweep/ledger.py",
        "Owner(**its).is_gone(owner)",
        "False",
        ENGINE,
    ),
    Mutant(
        "the process of a dead worker's trial lives on",
        "launch/sweep/ledger.py",
        'Owner(**trial.user_attrs["process"]).end()',
        "pass",
        ENGINE,
    ),
    Mutant(
        "every worker draws the same random trials",
        "launch/sweep/ledger.py",
        'zlib.crc32(f"{sweep.name} {number}".encode())',
        "zlib.crc32(sweep.name.encode())",
        ENGINE,
    ),
    Mutant(
        "nothing stopped early",
        "launch/sweep/ledger.py",
        "return bool(claim.trial.should_prune())",
        "return False",
        ENGINE,
    ),
    Mutant(
        "a failed trial counts as done",
        "launch/sweep/trial.py",
        "    if code != 0:\n",
        "    if code < 0:\n",
        ENGINE,
    ),
    Mutant(
        "one and true are the same choice",
        "launch/sweep/space.py",
        'json.dumps(value) for value in form["values"]',
        'json.dumps(str(value)) for value in form["values"]',
        "tests/launch/test_sweep_space.py",
    ),
    Mutant(
        "exponents taken for values",
        "launch/sweep/space.py",
        "FloatDistribution(math.exp(signs[0]), math.exp(signs[1]), log=True)",
        "FloatDistribution(math.exp(signs[0]), math.exp(signs[1]))",
        "tests/launch/test_sweep_space.py",
    ),
    Mutant(
        "1e-4 let through as a text",
        "launch/sweep/traps.py",
        "node.tag == _STR and _EXPONENT.fullmatch(text)",
        "node.tag == _INT and _EXPONENT.fullmatch(text)",
        "tests/commands/test_sweep_files.py",
    ),
    Mutant(
        "only first values checked",
        "commands/sweep_flags.py",
        "for value in values[1:]:",
        "for value in values[:0]:",
        "tests/commands/test_sweep_files.py",
    ),
]
