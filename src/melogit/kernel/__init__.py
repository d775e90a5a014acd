"""The typed face of the compiled module: arrays in, arrays out, no statistics and no state."""

from melogit.kernel.calls import (
    Evaluation,
    Nodes,
    Problem,
    Rule,
    evaluate,
    instruction_sets,
    logistic,
    modes,
    movement,
    new_nodes,
    problem,
)

__all__ = [
    "Evaluation",
    "Nodes",
    "Problem",
    "Rule",
    "evaluate",
    "instruction_sets",
    "logistic",
    "modes",
    "movement",
    "new_nodes",
    "problem",
]
