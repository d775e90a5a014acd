"""Adapter for ``glmm`` (Python package of the Rust crate): AGQ on one grouping factor, Laplace beyond."""

import importlib.metadata
import json
import sys
import time
import warnings


def main(spec_path: str, out_path: str) -> None:
    import glmm
    import pandas as pd

    warnings.simplefilter("ignore")
    with open(spec_path) as file:
        spec = json.load(file)
    out = {"peer": "glmm", "version": importlib.metadata.version("glmm")}
    if spec["slope"]:
        out["skipped"] = "no independent slopes: its (x | g) always has a correlation"
    else:
        data = pd.read_csv(spec["data"])
        for g in spec["groups"]:
            data[g] = data[g].astype(str)
        points = spec["points"] if len(spec["groups"]) == 1 else 1
        seconds = []
        for _ in range(spec["repeats"]):
            start = time.perf_counter()
            fit = glmm.fit(data, spec["formula"], "binomial", nagq=points)
            seconds.append(time.perf_counter() - start)
            if seconds[-1] > 2.0:  # slow enough for once
                break
        method = f"AGQ, {points} points" if points > 1 else "Laplace (no AGQ for two factors)"
        out |= {"method": method, "seconds": seconds, "llf": float(fit.loglik), "std_err": True}
    with open(out_path, "w") as file:
        json.dump(out, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
