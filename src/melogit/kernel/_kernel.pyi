from typing import Any

from numpy.typing import NDArray

class Problem:
    @property
    def chunks(self) -> int: ...

def problem(
    Q: NDArray[Any],
    n: int,
    wy: NDArray[Any],
    wt: NDArray[Any],
    binary: bool,
    zc: list[Any],
    zq: NDArray[Any],
    first: list[Any],
    zcol: list[Any],
    entry: NDArray[Any],
    p: int,
) -> Problem: ...
def evaluate(
    problem: Problem,
    eta0: NDArray[Any],
    Lambda: list[Any],
    rules: list[Any],
    at: list[list[Any]],
    sum: NDArray[Any],
    cluster_loglik: NDArray[Any],
    cluster_score: NDArray[Any] | None,
    score: bool,
    information: bool,
    drop: float,
    moments: tuple[Any, Any] | None,
    bar: list[list[Any]] | None,
    threads: int,
    isa: str,
) -> int: ...
def modes(
    problem: Problem,
    eta0: NDArray[Any],
    Lambda: list[Any],
    at: list[list[Any]],
    tolerance: float,
    max_iterations: int,
    drop: float,
    extent: NDArray[Any] | None,
    threads: int,
    isa: str,
) -> int: ...
def movement(
    problem: Problem,
    eta0: NDArray[Any],
    Lambda: list[Any],
    at: list[list[Any]],
    bar: list[list[Any]],
    sum: NDArray[Any],
    cluster_score: NDArray[Any] | None,
    threads: int,
    isa: str,
) -> int: ...
def fixed_effects(problem: Problem, eta0: NDArray[Any], sum: NDArray[Any], threads: int, isa: str) -> int: ...
def logistic(x: NDArray[Any], e: NDArray[Any], l: NDArray[Any], isa: str) -> None: ...
def instruction_sets() -> list[str]: ...
