"""One-line breaks of the code, a file a room, and the tests that must notice them."""

from breaks.callbacks import MUTANTS as CALLBACKS
from breaks.cli import MUTANTS as CLI
from breaks.comparison import MUTANTS as COMPARISON
from breaks.data import MUTANTS as DATA
from breaks.distributions import MUTANTS as DISTRIBUTIONS
from breaks.evaluation import MUTANTS as EVALUATION
from breaks.exchange import MUTANTS as EXCHANGE
from breaks.fields import MUTANTS as FIELDS
from breaks.figures import MUTANTS as FIGURES
from breaks.guidance import MUTANTS as GUIDANCE
from breaks.launch import MUTANTS as LAUNCH
from breaks.metrics import MUTANTS as METRICS
from breaks.modules import MUTANTS as MODULES
from breaks.mutant import Mutant
from breaks.networks import MUTANTS as NETWORKS
from breaks.objectives import MUTANTS as OBJECTIVES
from breaks.package import MUTANTS as PACKAGE
from breaks.paths import MUTANTS as PATHS
from breaks.records import MUTANTS as RECORDS
from breaks.solvers import MUTANTS as SOLVERS

MUTANTS: list[Mutant] = [
    *EVALUATION,
    *GUIDANCE,
    *EXCHANGE,
    *CALLBACKS,
    *CLI,
    *COMPARISON,
    *DATA,
    *DISTRIBUTIONS,
    *FIELDS,
    *FIGURES,
    *LAUNCH,
    *METRICS,
    *MODULES,
    *NETWORKS,
    *OBJECTIVES,
    *PACKAGE,
    *PATHS,
    *RECORDS,
    *SOLVERS,
]

__all__ = ["MUTANTS", "Mutant"]
