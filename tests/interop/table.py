#!/usr/bin/env python3
"""The table of brokers and features, as measured by the interop tests.

The tests write build/interop/table.json and table.md, or table-partial.* if they did not all run.

    table.py [FILE.json]          write the Markdown again from the JSON, and print it
    table.py --write [FILE.json]  put it into tests/interop/README.md, between two marks
    table.py --check [FILE.json]  print each row of that README that differs from the JSON: 1

--check ignores the versions of the brokers, the order of the rows, and the numbers of the notes.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "interop"
README = ROOT / "tests" / "interop" / "README.md"
BEGIN, END = "<!-- table by tests/interop/table.py -->", "<!-- end of the table of brokers -->"

BROKERS = {
    "spring": "Spring simple broker",
    "spring-relay": "Spring relay to RabbitMQ",
    "rabbitmq": "RabbitMQ",
    "activemq": "ActiveMQ Classic",
    "artemis": "ActiveMQ Artemis",
}
GROUPS = ["Connecting", "Destinations", "Acknowledging", "Transactions and receipts", "Bodies",
          "Headers", "Errors and endings", "Other clients"]
NOTES = """Notes. After "cannot", the note describes what the broker does instead. After "✓", it names
an exception: a fault of the other client or of the broker."""
YES = "✓"
FAILED = "FAILED"
NOT_RUN = "not run"
CANNOT = "cannot: "
ALL_BUT = YES + " except for "


def cannot(reason):
    """The result if the broker does something else, and the test has checked that."""
    return CANNOT + reason


def all_but(exception):
    """The result where it works, except for something that another client gets wrong."""
    return ALL_BUT + exception


class Results:
    """The results, cell by cell. In each group the rows are in the order in which they
    were added."""

    def __init__(self):
        self.versions = {}
        self._rows = {}

    def add(self, group, feature, kind, result):
        """Adds one cell: YES, a result of cannot() or all_but(), or FAILED."""
        cells = self._rows.setdefault((group, feature), {})
        if cells.get(kind) != FAILED:
            cells[kind] = result

    def write(self, complete):
        """Writes both files. After a partial run the files of the whole table are not changed."""
        rows = sorted(self._rows.items(), key=lambda row: GROUPS.index(row[0][0]))
        data = {
            "brokers": [{"kind": kind, "name": name, "version": self.versions.get(kind)}
                        for kind, name in BROKERS.items()],
            "rows": [{"group": group, "feature": feature,
                      "cells": {kind: cells.get(kind, NOT_RUN) for kind in BROKERS}}
                     for (group, feature), cells in rows],
        }
        OUTPUT.mkdir(parents=True, exist_ok=True)
        text = json.dumps(data, ensure_ascii=False, indent=2)
        name = "table" if complete else "table-partial"
        (OUTPUT / f"{name}.json").write_text(text + "\n", "utf-8")
        (OUTPUT / f"{name}.md").write_text(markdown(data), "utf-8")


def markdown(data):
    """Returns the table, with the reasons as numbered notes below it."""
    notes = []
    lines = []
    group = None
    for row in data["rows"]:
        if row["group"] != group:
            group = row["group"]
            lines += head(group, data["brokers"])
        cells = [cell(row["cells"][broker["kind"]], notes) for broker in data["brokers"]]
        lines.append(f"| {row['feature']} | {' | '.join(cells)} |")
    lines += ["", NOTES, ""]
    lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join(lines).lstrip("\n") + "\n"


def head(group, brokers):
    names = [f"{broker['name']} {broker['version'] or ''}".strip() for broker in brokers]
    return ["", f"| {group} | {' | '.join(names)} |", "|---|" + ":-:|" * len(names)]


def cell(text, notes):
    """Returns a result in which the number of a note replaces the reason."""
    for kind, short in ((CANNOT, "cannot"), (ALL_BUT, YES)):
        if text.startswith(kind):
            note = text.removeprefix(kind)
            if note not in notes:
                notes.append(note)
            return f"{short} [{notes.index(note) + 1}]"
    return text


def parts():
    """README before the table, the table, README after it."""
    before, _, rest = README.read_text("utf-8").partition(BEGIN + "\n")
    middle, _, after = rest.partition(END)
    return before, middle, after


def rows_of(text):
    """Each row of a table in Markdown, with the notes in the place of their numbers."""
    notes = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    text = re.sub(r" \[(\d+)\]", lambda match: f" [{notes.get(match[1], '?')}]", text)
    groups = tuple(f"| {group} |" for group in GROUPS)
    return {line for line in text.splitlines()
            if line.startswith("| ") and not line.startswith(groups)}


def check(text):
    wanted, found = rows_of(text), rows_of(parts()[1])
    for row in sorted(wanted - found):
        print(f"{README} lacks this row: {row}")
    for row in sorted(found - wanted):
        print(f"{README} has a row that this run does not have: {row}")
    return wanted != found


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    file = pathlib.Path(arguments[0]) if arguments else OUTPUT / "table.json"
    try:
        text = markdown(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        sys.exit(f"There is no table: {file} has not been written.")
    if "--check" in sys.argv[1:]:
        return check(text)
    if "--write" in sys.argv[1:]:
        before, _, after = parts()
        README.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")
        return 0
    file.with_suffix(".md").write_text(text, "utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
