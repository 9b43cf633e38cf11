#!/usr/bin/env python3
"""Writes numbers from tests/bench/results.json, between two marks: all into tests/bench/README.md, and
three sentences into README.md.

    readme.py          write both
    readme.py --check  name each of these files, and each chart, that has other numbers: 1
"""

import json
import pathlib
import sys
import textwrap

from summary import KEPT, OURS, RAW
from targets import short

ROOT = pathlib.Path(__file__).parents[2]
CHARTS = ("rates", "trips", "costs")
BEGIN, END = "<!-- numbers by `make charts` -->", "<!-- end of numbers -->"
KIB, WIDTH = 1 << 10, 130
NAMES = {OURS: "**stomp_ws.h**", RAW: "*the kernel alone*"}


def table(titles, rows):
    lines = [titles, ["---"] + ["--:"] * (len(titles) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(results, mode, size):
    return next(one for one in results["cells"] if one["mode"] == mode and one["size"] == size)


def shown(value):
    return short(value) if value is not None else "–"


def speeds(results):
    """A row for each client, the fastest receiver first."""
    cells = [cell(results, mode, size) for mode in ("burst", "sink") for size in (64, KIB)]
    trips = cell(results, "pingpong", 64)
    order = sorted(cells[0]["clients"], key=lambda name: -cells[0]["clients"][name]["rate"][0])
    rows = []
    for name in order:
        row = [NAMES.get(name, name)]
        for one in cells:
            found = one["clients"].get(name)
            row.append(f"{found['rate'][0]:,.0f}" if found else "–")
        found = trips["clients"].get(name)
        row += [shown(found[part][0]) if found else "–" for part in ("p50_us", "p99_us")]
        found = cells[1]["clients"].get(name)
        row += [shown(found["cpu_us"]) if found else "–",
                f"{found['peak_kib'] / KIB:.1f}" if found else "–"]
        rows.append(row)
    return table(["client", "receive 64 B", "1 KiB", "publish 64 B", "1 KiB",
                  "round trip, µs: median", "99 %", "CPU, µs", "peak, MiB"], rows)


def instructions(results):
    counts = results["instructions"]
    kinds = list(counts[OURS])
    order = sorted(counts, key=lambda name: counts[name][kinds[0]])
    titles = [f"{kind.split()[0]} {'64 B' if kind.endswith(' 64') else '1 KiB'}" for kind in kinds]
    return table(["client", *titles], [
        [NAMES.get(name, name), *(f"{counts[name][kind]:,.0f}" for kind in kinds)]
        for name in order])


def parsers(results):
    micro = results["micro"]
    order = sorted(micro, key=lambda name: micro[name]["parse 6"])
    rows = [[NAMES.get(name, name.removeprefix("Rust: ").removesuffix(", simdutf8")),
             *(shown(micro[name].get(f"parse {headers}")) for headers in (2, 6, 20))]
            for name in order]
    return table(["parser", "2 headers", "6 headers", "20 headers"], rows)


def doubt(results):
    def range_of(modes):
        again = [one["again"][0] for one in results["cells"] if one["mode"] in modes]
        return f"{min(again):.2f} to {max(again):.2f}"

    return (f"Two runs of the same program differed by a factor of {range_of(('burst', 'sink'))} in "
            f"messages per second, and of {range_of(('pingpong',))} in round-trip time. Ignore "
            "smaller differences.")


AIMS = ("In this table, *raw* is the kernel alone. Each ratio is the median of the ratios of the "
        "rounds, so it differs from the quotient of the medians above. To decode a message means to "
        "remove its WebSocket frame and to parse it.")


def targets(results):
    found = results["targets"]
    met = sum(one["met"] for one in found)
    rows = [[one["name"], one["wanted"], one["now"], "met" if one["met"] else "**missed**"]
            for one in found]
    return (f"## Aims: {met} met, {len(found) - met} missed\n\n" + prose(AIMS) + "\n\n" +
            table(["aim", "wanted", "now", ""], rows))


def prose(sentences):
    return textwrap.fill(sentences, WIDTH)


def numbers(results):
    """All of them, for tests/bench/README.md."""
    many = results["many"]["10000"]
    return "\n\n".join([
        prose(f"Measured on {results['when']}, {results['processor']}, {results['cores']} cores, "
              f"Linux {results['system']}; medians of {results['rounds']} rounds. {doubt(results)}"),
        "User-space instructions per message, counted with callgrind:", instructions(results),
        "Messages per second. CPU time and peak memory are those of receiving 1 KiB:",
        speeds(results),
        "Nanoseconds to parse a MESSAGE of 64 bytes, without a socket:", parsers(results),
        "Ten thousand clients on one thread:",
        table(["bytes per client, smallest buffers", "connections per second",
               "messages per second, to all of them"],
              [[f"{many[key]:,}" for key in ("bytes", "connected", "all_rate")]]),
        targets(results)])


def sentences(results):
    """Three of them, for README.md."""
    received = {name: one["rate"][0] for name, one in cell(results, "burst", 64)["clients"].items()}
    others = {name: rate for name, rate in received.items() if name not in (OURS, RAW)}
    second = max(others, key=others.get)
    trips = cell(results, "pingpong", 64)["clients"]
    ours, raw = (shown(trips[name]["p50_us"][0]) for name in (OURS, RAW))
    counts = results["instructions"][OURS]
    return prose(
        f"On one machine, over loopback, stomp_ws.h receives {received[OURS]:,.0f} messages of 64 "
        f"bytes per second; {second}, the fastest of the {len(others)} other clients, receives "
        f"{others[second]:,.0f}. A round trip takes {ours} µs (median); a program that only calls "
        f"`send` and `recv`, and parses nothing, takes {raw} µs. A received message of 64 bytes costs "
        f"{counts['receive 64']:,.0f} instructions in user space; a published message costs "
        f"{counts['publish 64']:,.0f}.")


FILES = {ROOT / "tests" / "bench" / "README.md": numbers, ROOT / "README.md": sentences}


def main():
    results = json.loads(KEPT.read_text("utf-8"))
    stale = [file for file in (KEPT.parent / "charts" / f"{name}.svg" for name in CHARTS)
             if not file.exists() or results["when"] not in file.read_text("utf-8")]
    for file, text in FILES.items():
        found = file.read_text("utf-8")
        before, rest = found.split(BEGIN + "\n")
        _, after = rest.split(END)
        wanted = f"{before}{BEGIN}\n\n{text(results)}\n\n{END}{after}"
        if "--check" not in sys.argv[1:]:
            file.write_text(wanted, "utf-8")
        elif found != wanted:
            stale.append(file)
    if "--check" not in sys.argv[1:]:
        return 0
    for file in stale:
        print(f"{file}: not made from {KEPT.name}; `make charts` writes it")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
