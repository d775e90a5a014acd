"""The typed face of the compiled module: arrays in, arrays out, no statistics and no state."""

from melogit.kernel.calls import (
    SLACK,
    Evaluation,
    Nodes,
    Problem,
    Rule,
    evaluate,
    fixed_effects,
    instruction_sets,
    logistic,
    modes,
    movement,
    new_nodes,
    problem,
)

__all__ = [
    "SLACK",
    "Evaluation",
    "Nodes",
    "Problem",
    "Rule",
    "evaluate",
    "fixed_effects",
    "instruction_sets",
    "logistic",
    "modes",
    "movement",
    "new_nodes",
    "problem",
]
