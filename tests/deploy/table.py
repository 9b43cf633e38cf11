#!/usr/bin/env python3
"""The table of the deploy tests.

    table.py          print the table of the last run, and keep it in build/deploy/table.md
    table.py --write  put it into tests/interop/README.md, between two marks
    table.py --check  print how the README's rows or outcomes differ from the last run

Recovery times and duplicates differ from run to run, so --check ignores them.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = ROOT / "build" / "deploy" / "rows"
README = ROOT / "tests" / "interop" / "README.md"
BEGIN, END = "<!-- table by tests/deploy/table.py -->", "<!-- end of table -->"
FAILED, SKIPPED = "FAILED", "skipped"
# The order of the modules in the table.
MODULES = ("test_proxies", "test_idle", "test_network", "test_rabbitmq", "test_spring",
           "test_activemq")
TITLES = ("Where", "What", "Outcome", "Recovery", "Lost", "Duplicated")


def write(module, rows):
    """Keeps the rows of one module."""
    ROWS.mkdir(parents=True, exist_ok=True)
    (ROWS / f"{module}.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def read():
    rows = []
    for module in MODULES:
        file = ROWS / f"{module}.json"
        if file.exists():
            rows += json.loads(file.read_text("utf-8"))
    return rows


def seconds(milliseconds):
    return "" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def cells(row):
    return [row["who"], row["what"], row["outcome"], seconds(row.get("recovery_ms")),
            *(str(row[name]) if name in row else "" for name in ("lost", "duplicated"))]


def markdown(rows):
    lines = [TITLES, ("---",) * 3 + ("--:",) * 3, *(cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def parts():
    """Returns the README before the table, the table's lines, and the README after it."""
    before, rest = README.read_text("utf-8").split(BEGIN + "\n")
    middle, after = rest.split(END)
    return before, [line for line in middle.splitlines() if line.startswith("|")], after


def shape(lines):
    """Returns what must be the same in each run: who, what, outcome, and the number of lost
    messages."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [tuple(row[:3] + row[4:5]) for row in found[2:]]


def check(text):
    wanted, found = shape(text.splitlines()), shape(parts()[1])
    for row in set(wanted) - set(found):
        print(f"{README} lacks this row: {' | '.join(row)}")
    for row in set(found) - set(wanted):
        print(f"{README} has a row that this run does not have: {' | '.join(row)}")
    return 0 if sorted(wanted) == sorted(found) else 1


def main():
    text = markdown(read())
    if "--check" in sys.argv[1:]:
        return check(text)
    if "--write" in sys.argv[1:]:
        before, _, after = parts()
        README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")
        return 0
    (ROWS.parent / "table.md").write_text(text + "\n", "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
