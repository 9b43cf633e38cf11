#!/usr/bin/env python3
"""The table of brokers and features, as the interop tests measured it.

The tests write build/interop/table.json and table.md, or table-partial.* where they did not run in
full. This writes the Markdown anew from the JSON, and prints it:

    python3 tests/interop/table.py [FILE.json]
"""

import json
import pathlib
import sys

OUTPUT = pathlib.Path(__file__).resolve().parent.parent.parent / "build" / "interop"

BROKERS = {
    "spring": "Spring simple broker",
    "spring-relay": "Spring relay to RabbitMQ",
    "rabbitmq": "RabbitMQ",
    "activemq": "ActiveMQ Classic",
    "artemis": "ActiveMQ Artemis",
}
GROUPS = ["Connecting", "Destinations", "Acknowledging", "Transactions and receipts", "Bodies",
          "Headers", "Errors and endings", "Other clients"]
YES = "✓"
FAILED = "FAILED"
NOT_RUN = "not run"
CANNOT = "cannot: "
ALL_BUT = YES + " but for "


def cannot(reason):
    """The result where a broker does something else, and the test has seen it do that."""
    return CANNOT + reason


def all_but(exception):
    """The result where it works, but for something that another client gets wrong."""
    return ALL_BUT + exception


class Results:
    """What was found, cell by cell; in each group the rows are in the order in which they came."""

    def __init__(self):
        self.versions = {}
        self._rows = {}

    def add(self, group, feature, kind, result):
        """One cell: YES, one of `cannot` and `all_but`, or FAILED."""
        cells = self._rows.setdefault((group, feature), {})
        if cells.get(kind) != FAILED:
            cells[kind] = result

    def write(self, complete):
        """Write both files, and never those of the whole table after a part of the tests."""
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
    """The table, with the reasons as numbered notes below it."""
    notes = []
    lines = []
    group = None
    for row in data["rows"]:
        if row["group"] != group:
            group = row["group"]
            lines += head(group, data["brokers"])
        cells = [cell(row["cells"][broker["kind"]], notes) for broker in data["brokers"]]
        lines.append(f"| {row['feature']} | {' | '.join(cells)} |")
    lines += ["", "What is done instead, or left out:", ""]
    lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join(lines).lstrip("\n") + "\n"


def head(group, brokers):
    names = [f"{broker['name']} {broker['version'] or ''}".strip() for broker in brokers]
    return ["", f"| {group} | {' | '.join(names)} |", "|---|" + ":-:|" * len(names)]


def cell(text, notes):
    """A result, with the number of a note in the place of a reason."""
    for kind, short in ((CANNOT, "cannot"), (ALL_BUT, YES)):
        if text.startswith(kind):
            note = text.removeprefix(kind)
            if note not in notes:
                notes.append(note)
            return f"{short} [{notes.index(note) + 1}]"
    return text


def main():
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT / "table.json"
    try:
        text = markdown(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        sys.exit(f"There is no table: {file} has not been written.")
    file.with_suffix(".md").write_text(text, "utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
