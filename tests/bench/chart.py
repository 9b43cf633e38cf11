#!/usr/bin/env python3
"""Draws the charts of tests/bench/README.md into tests/bench/charts, from tests/bench/results.json.

    build/venv-bench/bin/python tests/bench/chart.py

A dot is the median of the rounds. The bar through it reaches from the least to the most. The same
results make the same files. One file serves light and dark pages: text and lines follow the
reader's colour scheme, the colours of the dots do not.
"""

import json
import re

import matplotlib

from summary import KEPT, OURS, PERCENTILES, RAW

matplotlib.use("svg")
# Placeholder colours, which are replaced later: see THEME.
INK, FAINT, BAND = "#010203", "#040506", "#070809"
matplotlib.rcParams.update({
    "svg.hashsalt": "stomp_ws", "svg.fonttype": "none", "font.size": 10, "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False})
from matplotlib import pyplot  # noqa: E402 (the settings come first)
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

CHARTS = KEPT.parent / "charts"
# The name of each colour in the style sheet, its value in light mode, and in dark mode.
THEME = {INK: ("ink", "#24292f", "#e6edf3"), FAINT: ("faint", "#d0d7de", "#3d444d"),
         BAND: ("band", "#f3f5f8", "#1a1f27")}
KIB, MIB = 1 << 10, 1 << 20
COLOURS = {64: "#3f82e0", KIB: "#dd8420", 16 * KIB: "#3c9d66", MIB: "#a767c5"}
SIZES = {64: "64 B", KIB: "1 KiB", 16 * KIB: "16 KiB", MIB: "1 MiB"}
NAMES = {OURS: "stomp_ws.h", RAW: "the kernel alone"}
TITLES = {"burst": "receive", "sink": "publish"}
PARTS = {"p50_us": ("50 %", "o"), "p99_us": ("99 %", "^"), "p999_us": ("99.9 %", "s")}
SPREAD = 0.7  # of a client's height, for its dots


def plain(value, _):
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e4 else f"{value:g}"


def cells_of(results, mode):
    return [cell for cell in results["cells"] if cell["mode"] == mode]


def by_speed(cell, best):
    """The clients of a cell, the best client first, but the kernel above all."""
    names = sorted((name for name in cell["clients"] if name != RAW),
                   key=lambda name: best(cell["clients"][name]))
    return [RAW, *names] if RAW in cell["clients"] else names


def dot(axes, row, values, **look):
    """Draws one dot: median, minimum, maximum."""
    middle, least, most = values
    axes.errorbar(middle, row, xerr=[[middle - least], [most - middle]], markersize=5,
                  linewidth=1.2, linestyle="none", **look)


def place(index, count):
    """The vertical positions of the dots of one row."""
    return SPREAD * ((index + 0.5) / count - 0.5)


def dress(axes, names, title, label):
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(label)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    for row in range(0, len(names), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=BAND, zorder=-5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(range(len(names)), [NAMES.get(name, name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    for label in axes.get_yticklabels():
        if label.get_text() == NAMES[OURS]:
            label.set_fontweight("bold")


def doubt(results, modes):
    """The range of the ratios between two runs of the same program."""
    again = [cell["again"][0] for cell in results["cells"] if cell["mode"] in modes]
    return f"two runs of one program differ by a factor of {min(again):.2f} to {max(again):.2f}"


def source(results):
    return (f"{results['when']}, {results['processor']}, {results['cores']} cores, Linux "
            f"{results['system']}, loopback; {results['rounds']} rounds")


def themed(svg):
    """Replaces the placeholders with variables. A viewer that does not support variables shows the
    light colours."""
    for stand_in, (name, light, _) in THEME.items():
        svg = re.sub(rf"(fill|stroke): {stand_in}", rf"\1: {light}; \1: var(--{name})", svg)
    light = " ".join(f"--{name}: {colour};" for name, colour, _ in THEME.values())
    dark = " ".join(f"--{name}: {colour};" for name, _, colour in THEME.values())
    style = (f"svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}")
    svg = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1system-ui, sans-serif", svg)
    return svg.replace("</style>", f"{style}</style>", 1)


def save(figure, results, name, note):
    figure.supxlabel(f"{source(results)}; {note}", fontsize=8)
    CHARTS.mkdir(exist_ok=True)
    file = CHARTS / f"{name}.svg"
    figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = themed(file.read_text())
    file.write_text(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
    print(file)


def legend(figure, axes, title, **where):
    """Makes a legend with one entry per label, even if several rows have the label."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), title=title,
                  **(where or {"loc": "outside right upper"}))


def draw_rates(results):
    figure, panels = pyplot.subplots(1, 2, layout="constrained", figsize=(11.5, 5.4), sharey=True)
    names = by_speed(cells_of(results, "burst")[0], lambda one: -one["rate"][0])
    for axes, (mode, title) in zip(panels, TITLES.items(), strict=True):
        cells = cells_of(results, mode)
        for index, cell in enumerate(cells):
            for row, name in enumerate(names):
                if name in cell["clients"]:
                    dot(axes, row + place(index, len(cells)), cell["clients"][name]["rate"],
                        marker="o", color=COLOURS[cell["size"]], label=SIZES[cell["size"]])
        dress(axes, names, title, "messages per second (log scale; right is better)")
    legend(figure, panels[0], "bodies of")
    save(figure, results, "rates", doubt(results, TITLES))


def draw_trips(results):
    cells = cells_of(results, "pingpong")
    names = by_speed(cells[0], lambda one: one["p50_us"][0])
    figure, panels = pyplot.subplots(1, len(cells), layout="constrained", figsize=(11.5, 5.4),
                                     sharey=True)
    for axes, cell in zip(panels, cells, strict=True):
        for row, name in enumerate(names):
            if name not in cell["clients"]:
                continue
            for index, part in enumerate(PERCENTILES):
                label, marker = PARTS[part]
                dot(axes, row + place(index, len(PERCENTILES)), cell["clients"][name][part],
                    marker=marker, color=COLOURS[cell["size"]], label=label)
        dress(axes, names, f"round trip, {SIZES[cell['size']]}", "µs (log scale; left is better)")
    legend(figure, panels[0], "share of\nround trips")
    save(figure, results, "trips", doubt(results, ("pingpong",)) + "; both ends on one core")


def draw_instructions(axes, results):
    counts = results["instructions"]
    names = sorted(counts, key=lambda name: counts[name]["receive 64"])
    kinds = list(counts[OURS])
    for row, name in enumerate(names):
        for index, kind in enumerate(kinds):
            mode, size = kind.split()
            axes.plot(counts[name][kind], row + place(index, len(kinds)), linestyle="none",
                      marker="o" if mode == "receive" else "D", markersize=5,
                      color=COLOURS[int(size)], label=f"{mode}, {SIZES[int(size)]}")
    dress(axes, names, "instructions", "per message, in user space (log scale)")


def draw_cell(axes, cell, figure_of, title, label):
    known = {name: figure_of(one) for name, one in cell["clients"].items()
             if figure_of(one) is not None}
    names = sorted(known, key=known.get)
    for row, name in enumerate(names):
        axes.plot(known[name], row, linestyle="none", marker="o", markersize=6,
                  color=COLOURS[cell["size"]])
    dress(axes, names, title, label)


def draw_costs(results):
    figure, panels = pyplot.subplots(1, 3, layout="constrained", figsize=(12.5, 4.6))
    cell = next(cell for cell in cells_of(results, "burst") if cell["size"] == KIB)
    draw_instructions(panels[0], results)
    legend(figure, panels[0], None, loc="outside upper left", ncols=4, fontsize=8)
    draw_cell(panels[1], cell, lambda one: one["cpu_us"], "CPU time, receive", "µs per message (log scale)")
    draw_cell(panels[2], cell, lambda one: one["peak_kib"] / KIB, "peak memory, receive",
              "MiB (log scale)")
    save(figure, results, "costs", "left is better; instructions by callgrind")


def main():
    results = json.loads(KEPT.read_text())
    draw_rates(results)
    draw_trips(results)
    draw_costs(results)


if __name__ == "__main__":
    main()
