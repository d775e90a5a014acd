"""Measurements of melogit itself. Times are minima over repeats: on a shared machine minima hold, medians swing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd

from .cases import Case, growth_case, growth_data


def timed(function: Callable[[], Any], repeats: int) -> tuple[Any, list[float]]:
    """Last value, and seconds of each of ``repeats`` calls."""
    seconds = []
    value = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(repeats):
            start = time.perf_counter()
            value = function()
            seconds.append(time.perf_counter() - start)
    return value, seconds


def engine(
    case: Case, data: pd.DataFrame, repeats: int, threads: int | None = None, points: int | Literal["auto"] = 7
) -> dict[str, Any]:
    """From a design to a complete fit: estimates, exact information, standard errors, certificate."""
    from melogit.fit import Settings, fit_design
    from melogit.formula import build_design

    design = build_design(case.formula, data)
    method = case.method if points != "auto" else None
    settings = Settings(method=method, intpoints=points, threads=threads)
    fit, seconds = timed(lambda: fit_design(design, settings), repeats)
    chosen = fit.integration
    automatic = " (auto)" if points == "auto" else ""
    return {
        "case": case.name,
        "contender": "melogit engine",
        "method": f"{chosen.method}, {'x'.join(map(str, chosen.points))} points{automatic}",
        "seconds": seconds,
        "llf": fit.loglik,
        "std_err": True,
        "threads": threads or os.cpu_count(),
        "iterations": sum(row.stage == "full" for row in fit.trace),
    }


def whole_call(case: Case, data: pd.DataFrame, repeats: int) -> dict[str, Any]:
    """From a data frame to the result: ``melogit(formula, data)``."""
    from melogit import melogit

    result, seconds = timed(lambda: melogit(case.formula, data, method=case.method, intpoints=case.points), repeats)
    return {"case": case.name, "contender": "melogit whole call", "method": f"{case.method}, {case.points} points",
            "seconds": seconds, "llf": result.llf, "std_err": True}  # fmt: skip


def bootstrap(case: Case, data: pd.DataFrame, reps: int = 1000, repeats: int = 3) -> dict[str, Any]:
    """Seconds of ``reps`` cluster replicates, shared out to all cores and on one thread, beside one whole call."""
    from melogit import melogit

    fit, one = timed(lambda: melogit(case.formula, data, method=case.method, intpoints=case.points), 2 * repeats)
    shared = timed(lambda: fit.bootstrap(reps, seed=1), repeats)[1]
    alone = timed(lambda: fit.bootstrap(reps, seed=1, workers=1), repeats)[1]
    return {"case": case.name, "reps": reps, "fit": min(one), "seconds": shared, "seconds_one_thread": alone}


def evaluation(rows: int = 100_000, points: int = 7, repeats: int = 15) -> dict[str, Any]:
    """Nanoseconds per (row, node) of one pass of the engine on one thread, and of a plain exp."""
    from melogit import kernel
    from melogit.formula import build_design
    from melogit.likelihood.arrange import arrange
    from melogit.likelihood.nested import evaluate, hermite_rules, mode_nodes

    design = build_design(growth_case(rows).formula, growth_data(rows))
    nested = arrange(design, threads=1)
    x = np.append(np.zeros(nested.p), np.ones(nested.m))
    _, nodes = mode_nodes(nested, x, kernel.new_nodes(nested.problem))
    rules = hermite_rules(nested, (points,))
    _, full = timed(lambda: evaluate(nested, x, rules, nodes), repeats)
    _, value = timed(lambda: evaluate(nested, x, rules, nodes, score=False, information=False), repeats)
    _, modes = timed(lambda: mode_nodes(nested, x, nodes), repeats)
    per = 1e9 / (rows * points)
    return {
        "rows": rows,
        "points": points,
        "isa": kernel.instruction_sets()[0],
        "ns": min(full) * per,
        "ns_loglik": min(value) * per,
        "ns_modes_per_row": min(modes) * 1e9 / rows,
        "exp_ns": exp_limit(),
    }


def exp_limit(repeats: int = 200) -> float:
    """Nanoseconds per plain ``exp`` on data in the first-level cache, one thread, NumPy's vector code."""
    x = np.linspace(-4, 4, 1024)
    out = np.empty_like(x)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(20):
            np.exp(x, out=out)
        best = min(best, (time.perf_counter() - start) / 20)
    return best / len(x) * 1e9


def in_fresh_interpreter(code: str, repeats: int) -> float:
    """Smallest of the numbers that ``code`` prints in ``repeats`` new processes."""
    run = [sys.executable, "-c", "import time\n" + code]
    return min(float(subprocess.run(run, capture_output=True, text=True, check=True).stdout) for _ in range(repeats))


def import_times(repeats: int = 5) -> dict[str, float]:
    """Seconds to import the package, and its compiled module alone (NumPy already there), in a fresh interpreter."""
    package = "a = time.perf_counter()\nimport melogit\nprint(time.perf_counter() - a)"
    kernel = f"""
import importlib.util, numpy
spec = importlib.util.spec_from_file_location("_kernel", {kernel_path()!r})
a = time.perf_counter()
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(time.perf_counter() - a)"""
    return {"melogit": in_fresh_interpreter(package, repeats), "kernel": in_fresh_interpreter(kernel, repeats)}


def kernel_path() -> str:
    """Where the compiled module is, without importing the package."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("melogit")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("melogit is not installed")
    return str(next((Path(spec.origin).parent / "kernel").glob("_kernel*.so")))


def peak_memory(rows: int) -> dict[str, float]:
    """Fit ``rows`` rows in a fresh process: the data's size and how far the fit raised the process's peak, in bytes."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.ours", str(rows)], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def measure_memory(rows: int) -> dict[str, float]:
    """Body of the process that ``peak_memory`` starts."""
    from melogit.fit import Settings, fit_design
    from melogit.formula import build_design

    small = build_design(growth_case(2000).formula, growth_data(2000))
    settings = Settings(method="mvaghermite", intpoints=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_design(small, settings)  # code and libraries are loaded before the count starts
        design = build_design(growth_case(rows).formula, growth_data(rows))
        arrays = [design.y, design.trials, design.weights, design.offset, design.X]
        size = sum(a.nbytes for a in arrays) + sum(t.Z.nbytes + t.factor.codes.nbytes for t in design.terms)
        before = resident_bytes()
        reset_peak()
        fit_design(design, settings)
    return {"rows": rows, "data_bytes": size, "extra_bytes": peak_bytes() - before}


def resident_bytes() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))


def reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:  # Linux: sets the peak back to what is resident now
        file.write("5")


def peak_bytes() -> int:
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except StopIteration:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(json.dumps(measure_memory(int(sys.argv[1]))))
