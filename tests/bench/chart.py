#!/usr/bin/env python3
"""Draws build/bench/results.json, which run.py leaves, as build/bench/chart.svg.

    build/venv-bench/bin/python tests/bench/chart.py [RESULTS [CHART]]

Three panels: receive, publish, round trip. A dot is the median of a client's rounds, beside what
the kernel allows in the same round; the bar through it reaches from the least to the most.
"""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "stomp_ws"  # the same results make the same file
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot  # noqa: E402 (the backend comes first)
from matplotlib.ticker import FuncFormatter  # noqa: E402

BUILD = pathlib.Path(__file__).parents[2] / "build"
RESULTS = BUILD / "bench" / "results.json"

RAW, OURS, AGAIN = "raw", "ours", "ours, again"
PANELS = (("burst", "receive: messages a second,\nof what bare recv() takes in"),
          ("sink", "publish: messages a second,\nof what bare send() puts out"),
          ("pingpong", "round trip: median,\nin times that of bare TCP"))
COLOURS = {64: "#3b6fb6", 1 << 10: "#d9822b", 1 << 14: "#4f9d69", 1 << 20: "#8a5a9e"}
SIZES = {64: "64 B", 1 << 10: "1 KiB", 1 << 14: "16 KiB", 1 << 20: "1 MiB"}
BAND = 0.72  # of the height that a client has, for its sizes


def speeds(cell, name):
    """Of each round; a round trip counts by its length."""
    key = "p50_us" if cell["mode"] == "pingpong" else "rate"
    return [run[key] for run in cell["runs"][name]]


def ratios(cell, name):
    return [mine / raw for mine, raw in zip(speeds(cell, name), speeds(cell, RAW), strict=True)]


def order_of(cells):
    """Clients, the fastest receiver of small messages first."""
    names = {name: None for cell in cells for name in cell["runs"] if name not in (RAW, AGAIN)}
    first = cells[0]["runs"]

    def rank(name):
        return -statistics.median(speeds(cells[0], name)) if name in first else 0

    return sorted(names, key=rank)


def draw_cell(axes, cell, clients, offset):
    for row, name in enumerate(clients):
        if name not in cell["runs"]:
            continue
        values = ratios(cell, name)
        middle = statistics.median(values)
        axes.errorbar(middle, row + offset, color=COLOURS[cell["size"]], marker="o", markersize=5,
                      xerr=[[middle - min(values)], [max(values) - middle]], linewidth=1.2,
                      label=SIZES[cell["size"]] if name == clients[0] else None)


def plain(value, _):
    return f"{value:g}"


def draw_panel(axes, title, cells, clients):
    for index, cell in enumerate(cells):
        place = (index + 0.5) / len(cells) - 0.5
        draw_cell(axes, cell, clients, place * BAND)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.set_title(title, fontsize=10)
    axes.axvline(1, color="#888888", linewidth=1)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    for row in range(0, len(clients), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=-5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_name("chart.svg")
    results = json.loads(source.read_text())
    cells = [cell for cell in results["cells"] if RAW in cell["runs"]]
    clients = order_of(cells)
    figure, panels = pyplot.subplots(1, len(PANELS), sharey=True, layout="constrained",
                                     figsize=(11, 1.6 + 0.5 * len(clients)))
    for axes, (mode, title) in zip(panels, PANELS, strict=True):
        draw_panel(axes, title, [cell for cell in cells if cell["mode"] == mode], clients)
    labels = ["stomp_ws.h" if name == OURS else name for name in clients]
    panels[0].set_yticks(range(len(clients)), labels, fontsize=10)
    panels[0].get_yticklabels()[clients.index(OURS)].set_fontweight("bold")
    panels[0].set_ylim(len(clients) - 0.5, -0.5)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, title="bodies of", loc="outside right upper", frameon=False)
    figure.supxlabel(f"1 = the kernel alone, in the same round; {results['rounds']} rounds, "
                     f"{results['processor']}, {results['when']}", fontsize=8, color="#666666")
    figure.savefig(target, metadata={"Date": None})
    print(target)


if __name__ == "__main__":
    main()
