#!/usr/bin/env python3
"""Keeps the results of a run of `make bench` in tests/bench/results.json: medians, and the least and
the most of the rounds. The charts, tests/bench/README.md and the numbers in README.md are made from
that file.
"""

import json
import pathlib
import statistics
import sys

from loopback import BUILD
from targets import collect

KEPT = pathlib.Path(__file__).parent / "results.json"
RAW, OURS, AGAIN = "raw", "ours", "ours, again"
PERCENTILES = ("p50_us", "p99_us", "p999_us")


def digits(value, count=4):
    return None if value is None else float(f"{value:.{count}g}")


def of_rounds(values):
    """Returns median, minimum and maximum."""
    return [digits(one) for one in (statistics.median(values), min(values), max(values))]


def speeds(mode, runs):
    return [1 / run["p50_us"] if mode == "pingpong" else run["rate"] for run in runs]


def ratios(cell, name, to):
    pairs = zip(speeds(cell["mode"], cell["runs"][name]), speeds(cell["mode"], cell["runs"][to]),
                strict=True)
    return of_rounds([a / b for a, b in pairs])


def client(cell, name):
    runs = cell["runs"][name]
    costs = [run["cpu_us"] for run in runs if run["cpu_us"] is not None]
    kept = {"of_raw": ratios(cell, name, RAW), "ours_faster": ratios(cell, OURS, name),
            "cpu_us": digits(statistics.median(costs)) if costs else None,
            "peak_kib": statistics.median(run["peak_kib"] for run in runs)}
    if cell["mode"] == "pingpong":
        kept.update({key: of_rounds([run[key] for run in runs]) for key in PERCENTILES})
    else:
        kept["rate"] = of_rounds([run["rate"] for run in runs])
    return kept


def condense(cell):
    return {"mode": cell["mode"], "size": cell["size"], "again": ratios(cell, AGAIN, OURS),
            "clients": {name: client(cell, name) for name in cell["runs"] if name != AGAIN}}


def left_by(program):
    return json.loads((BUILD / "bench" / f"{program}.json").read_text())


def main():
    results = left_by("results")
    if results["rounds"] < 5:
        sys.exit("build/bench/results.json is from a quick run; run `make bench` first")
    targets, missing = collect()
    if missing:
        sys.exit(f"{', '.join(missing)}: no targets found; `make bench` did not run to its end")
    kept = {key: results[key] for key in ("when", "processor", "cores", "system", "rounds")}
    kept["cells"] = [condense(cell) for cell in results["cells"]]
    kept["instructions"] = left_by("peers")
    kept["many"] = left_by("many")
    kept["micro"] = left_by("micro")
    kept["targets"] = targets
    KEPT.write_text(json.dumps(kept, indent=2) + "\n")
    print(f"{KEPT}: {len(kept['cells'])} cells, {len(targets)} targets, measured on {kept['when']}")


if __name__ == "__main__":
    main()
