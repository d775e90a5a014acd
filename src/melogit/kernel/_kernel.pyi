from typing import Any

from numpy.typing import NDArray

class Problem:
    @property
    def chunks(self) -> int: ...

class Crossed: ...

def crossed(
    wy: NDArray[Any],
    wt: NDArray[Any],
    binary: bool,
    first: NDArray[Any],
    q: int,
    r: int,
    rest: int,
    column: NDArray[Any],
    start: NDArray[Any],
    cols: NDArray[Any],
    local: NDArray[Any],
) -> Crossed: ...
def crossed_rows(
    problem: Crossed,
    A: NDArray[Any],
    eta0: NDArray[Any],
    u0: NDArray[Any],
    u1: NDArray[Any],
    residual: NDArray[Any],
    weight: NDArray[Any],
    bend: NDArray[Any],
    score0: NDArray[Any],
    score1: NDArray[Any],
    loglik: NDArray[Any],
    threads: int,
    isa: str,
) -> int: ...
def crossed_factor(
    problem: Crossed,
    A: NDArray[Any],
    weight: NDArray[Any],
    L: NDArray[Any],
    T: NDArray[Any],
    schur: NDArray[Any],
    logdet: NDArray[Any],
    threads: int,
    isa: str,
) -> int: ...
def crossed_sweep(
    problem: Crossed,
    A: NDArray[Any],
    L: NDArray[Any],
    T: NDArray[Any],
    x0: NDArray[Any],
    x1: NDArray[Any],
    forward: bool,
    isa: str,
) -> None: ...
def crossed_inverse(
    problem: Crossed,
    A: NDArray[Any],
    L: NDArray[Any],
    T: NDArray[Any],
    P: NDArray[Any],
    h: NDArray[Any],
    v: NDArray[Any],
    block: NDArray[Any],
    threads: int,
    isa: str,
) -> int: ...
def crossed_given(
    problem: Crossed,
    A: NDArray[Any],
    eta0: NDArray[Any],
    u1: NDArray[Any],
    u0: NDArray[Any],
    z: NDArray[Any],
    log_weight: NDArray[Any],
    n_nodes: int,
    loglik: NDArray[Any],
    moments: NDArray[Any] | None,
    threads: int,
    isa: str,
) -> int: ...
def dense_factor(A: NDArray[Any], isa: str) -> bool: ...
def dense_solve(L: NDArray[Any], x: NDArray[Any], isa: str) -> None: ...
def dense_invert(L: NDArray[Any], scratch: NDArray[Any], P: NDArray[Any], isa: str) -> None: ...
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
