"""``python -m benchmarks``: every number the project states about speed, side by side with peers, in one run.

Peers live in an environment of their own (``python -m venv peers; peers/bin/pip install glmm gpboost pandas``); give
its interpreter with ``--peers-python``. A peer that is missing gets a row that says so.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import ours
from .cases import (
    crossed_case,
    crossed_data,
    growth_case,
    growth_data,
    hospital_cases,
    hospital_data,
    verbal_aggression,
)
from .peers import PYTHON_PEERS, R_PEERS, run_peer


def cpu_name() -> str:
    """Name of the processor, and the widest vectors it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    return name + (" (AVX-512)" if "avx512f" in text else " (AVX2)" if "avx2" in text else "")


def machine(load_at_start: float) -> dict[str, Any]:
    """Where and when: the numbers mean nothing without it."""
    packages = ("melogit", "numpy", "scipy", "pandas", "formulaic")
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "from source"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_at_start": load_at_start,
        "python": platform.python_version(),
        "versions": versions,
    }


def measure(args: argparse.Namespace, say: Console) -> dict[str, Any]:
    """Run everything that was asked for."""
    load_at_start = os.getloadavg()[0]
    data, which = hospital_data()
    rows: list[dict[str, Any]] = []
    for case in hospital_cases():
        say.print(f"[dim]{case.name}: {case.formula}[/dim]")
        rows.append(ours.engine(case, data, args.repeats))
        rows.append(ours.engine(case, data, args.repeats, threads=1) | {"contender": "melogit engine, 1 thread"})
        rows.append(ours.whole_call(case, data, args.repeats))
        rows.append(
            ours.engine(case, data, min(args.repeats, 5), points="auto") | {"contender": "melogit engine, auto"}
        )
        for peer in (*PYTHON_PEERS, *R_PEERS) if not args.no_peers else ():
            repeats = min(args.repeats, 5) if peer in PYTHON_PEERS else 1
            rows.append(run_peer(peer, case, data, repeats, args.peers_python, args.limit))
    for n in args.growth:
        case, big = growth_case(n), growth_data(n)
        say.print(f"[dim]{case.name} in {big['g'].nunique():,} groups[/dim]")
        repeats = 3 if n >= 10**6 else 5
        rows.append(ours.engine(case, big, repeats))
        rows.append(ours.engine(case, big, repeats, threads=1) | {"contender": "melogit engine, 1 thread"})
        for peer in PYTHON_PEERS if not args.no_peers else ():
            rows.append(run_peer(peer, case, big, 1 if n >= 10**5 else 3, args.peers_python, args.limit))
    rows += crossed(args, say)
    return {
        "machine": machine(load_at_start),
        "data": which,
        "rows": rows,
        "bootstrap": ours.bootstrap(hospital_cases()[0], data, args.bootstrap),
        "import_seconds": ours.import_times(),
        "memory": ours.peak_memory(max(args.growth)) if args.growth else None,
        "evaluation": ours.evaluation(),
    }


def crossed(args: argparse.Namespace, say: Console) -> list[dict[str, Any]]:
    """Crossed factors: a published data set, and data that grow. Peers fit the first, and the rest where quick."""
    rows: list[dict[str, Any]] = []
    cases = [verbal_aggression(), *((crossed_case(n), crossed_data(n)) for n in args.crossed)]
    for case, data in cases:
        say.print(f"[dim]{case.name}: {case.formula}[/dim]")
        repeats = args.repeats if len(data) < 10**5 else 2
        rows.append(ours.engine(case, data, repeats, points="auto"))
        rows.append(
            ours.engine(case, data, repeats, threads=1, points="auto") | {"contender": "melogit engine, 1 thread"}
        )
        rows.append(ours.whole_call(case, data, repeats))
        for peer in (*PYTHON_PEERS, *R_PEERS) if not args.no_peers and len(data) <= 10**5 else ():
            rows.append(run_peer(peer, case, data, 3 if peer in PYTHON_PEERS else 1, args.peers_python, args.limit))
    return rows


def best(rows: list[dict[str, Any]], case: str, contender: str) -> float | None:
    """Smallest time of a row, if it has one."""
    times = [min(r["seconds"]) for r in rows if r["case"] == case and r["contender"] == contender and "seconds" in r]
    return times[0] if times else None


def show(report: dict[str, Any], out: Console) -> None:
    """The tables."""
    m, rows = report["machine"], report["rows"]
    out.print(f"{m['cpu']}, {m['cores']} cores, load {m['load_at_start']:.1f} before the start")
    out.print(f"Python {m['python']}, {m['date']}; {report['data']}")
    table = Table(
        "model", "contender", "method", "best", "median", "times ours", "log-likelihood", title="One run, side by side"
    )
    for row in rows:
        if "skipped" in row:
            table.add_row(row["case"], row["contender"], row["skipped"], "", "", "", "")
            continue
        times = sorted(row["seconds"])
        ratio = times[0] / (best(rows, row["case"], "melogit engine") or float("nan"))
        table.add_row(row["case"], row["contender"], row["method"], seconds(times[0]), seconds(times[len(times) // 2]),
                      f"{ratio:.1f}", f"{row['llf']:.4f}")  # fmt: skip
    out.print(table)
    for line in facts(report):
        out.print(line)


def seconds(value: float) -> str:
    """A time at three figures."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def facts(report: dict[str, Any]) -> list[str]:
    """Growth, threads, automatic points, imports, memory and the machine's limit, in a line each."""
    rows, lines = report["rows"], []
    grown = [r["case"] for r in rows if r["case"].endswith("rows") and r["contender"] == "melogit engine"]
    for small, large in itertools.pairwise(grown):
        if small.split()[1:] != large.split()[1:]:  # nested, then crossed
            continue
        a, b = (best(rows, size, "melogit engine") or float("nan") for size in (small, large))
        more = int(large.split()[0].replace(",", "")) / int(small.split()[0].replace(",", ""))
        lines.append(f"growth: {more:.0f} times the rows ({small} to {large}) takes {b / a:.1f} times as long")
    for case in dict.fromkeys(r["case"] for r in rows):
        one, both = best(rows, case, "melogit engine, 1 thread"), best(rows, case, "melogit engine")
        if one and both:
            lines.append(f"threads: {case} is {one / both:.2f} times faster on all cores than on one")
    seven, auto = best(rows, "M1", "melogit engine"), best(rows, "M1", "melogit engine, auto")
    if seven and auto:
        lines.append(f"automatic points: M1 takes {auto / seven:.1f} times the time of 7 points")
    b = report["bootstrap"]
    shared, alone = min(b["seconds"]), min(b["seconds_one_thread"])
    lines.append(
        f"bootstrap: {b['reps']:,} cluster replicates of {b['case']} take {seconds(shared)} on all cores, "
        f"{seconds(alone)} on one; one replicate takes {shared / b['reps'] / b['fit']:.2f} times a whole call "
        f"({seconds(b['fit'])}), and {alone / b['reps'] / b['fit']:.2f} times on one core"
    )
    package, kernel = (seconds(report["import_seconds"][name]) for name in ("melogit", "kernel"))
    lines.append(f"import: melogit {package}, the compiled kernel alone {kernel}")
    if report["memory"]:
        n, size, extra = (report["memory"][key] for key in ("rows", "data_bytes", "extra_bytes"))
        mib = 2**20
        lines.append(
            f"memory: {n:,.0f} rows are {size / mib:.0f} MiB of arrays; "
            f"fitting adds {extra / mib:.0f} MiB at its peak ({extra / size:.2f} times)"
        )
    e = report["evaluation"]
    lines.append(
        f"evaluation, one thread, per (row, node): {e['ns']:.2f} ns with score and information, "
        f"{e['ns_loglik']:.2f} ns for the log-likelihood alone; a plain exp here takes {e['exp_ns']:.2f} ns"
    )
    return lines


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--peers-python", metavar="PATH", help="interpreter of the environment that has glmm and gpboost"
    )
    parser.add_argument("--no-peers", action="store_true", help="only melogit")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--growth", type=int, nargs="*", default=[10**4, 10**5, 10**6], metavar="ROWS")
    parser.add_argument("--crossed", type=int, nargs="*", default=[10**5, 10**6], metavar="ROWS")
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="REPS", help="replicates of M1")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that a peer may take per model")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "latest.json")
    args = parser.parse_args()
    out = Console(width=150)
    report = measure(args, out)
    show(report, out)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    out.print(f"written to {args.json}")


if __name__ == "__main__":
    main()
