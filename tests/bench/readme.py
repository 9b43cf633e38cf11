#!/usr/bin/env python3
"""Writes the numbers of README's section on speed, between two marks, of tests/bench/results.json.

    readme.py          write
    readme.py --check  or say that README or the charts have other numbers: 1
"""

import json
import pathlib
import sys
import textwrap

from summary import KEPT, OURS, RAW
from targets import short

README = pathlib.Path(__file__).parents[2] / "README.md"
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
        row.append(f"{shown(found['p50_us'][0])}, {shown(found['p99_us'][0])}" if found else "–")
        found = cells[1]["clients"].get(name)
        row += [shown(found["cpu_us"]) if found else "–",
                f"{found['peak_kib'] / KIB:.1f}" if found else "–"]
        rows.append(row)
    return table(["client", "receive 64 B", "1 KiB", "publish 64 B", "1 KiB",
                  "round trip, µs: half, 99 %", "CPU, µs", "peak, MiB"], rows)


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

    return (f"The same program run twice differed by {range_of(('burst', 'sink'))} in messages a "
            f"second, and by {range_of(('pingpong',))} in round trips: smaller differences mean "
            "nothing.")


RATIOS = ("Ratios are medians of those of each round, and so not the quotients of the medians above; "
          "to decode is to parse, and to take the WebSocket frame off before.")


def targets(results):
    found = results["targets"]
    met = sum(one["met"] for one in found)
    rows = [[one["name"], one["wanted"], one["now"], "met" if one["met"] else "**missed**"]
            for one in found]
    return (f"<details><summary>The project's own aims: {met} met, {len(found) - met} missed"
            "</summary>\n\n" + prose(RATIOS) + "\n\n" +
            table(["aim", "wanted", "now", ""], rows) + "\n\n</details>")


def prose(sentences):
    return textwrap.fill(sentences, WIDTH)


def text(results):
    many = results["many"]["10000"]
    return "\n\n".join([
        prose(f"{results['when']}, {results['processor']}, {results['cores']} cores, Linux "
              f"{results['system']}, medians of {results['rounds']} rounds. {doubt(results)}"),
        "User-space instructions a message, by callgrind:", instructions(results),
        "Messages a second; CPU time and peak memory are those of receiving 1 KiB:",
        speeds(results),
        "Nanoseconds to parse a MESSAGE of 64 octets, without a socket:", parsers(results),
        prose(f"Ten thousand clients on one thread: {many['octets']:,} octets each with the "
              f"smallest buffers, {many['connected']:,} connected a second, {many['all_rate']:,} "
              "messages a second to all of them."),
        targets(results)])


def main():
    results = json.loads(KEPT.read_text())
    readme = README.read_text()
    before, rest = readme.split(BEGIN + "\n")
    _, after = rest.split(END)
    wanted = f"{before}{BEGIN}\n\n{text(results)}\n\n{END}{after}"
    if "--check" not in sys.argv[1:]:
        README.write_text(wanted)
        return 0
    stale = [str(file) for file in (KEPT.parent / "charts" / f"{name}.svg" for name in CHARTS)
             if not file.exists() or results["when"] not in file.read_text()]
    if readme != wanted:
        stale.append(str(README))
    for file in stale:
        print(f"{file}: not of {KEPT.name}; `make charts` writes it")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
