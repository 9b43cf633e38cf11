#!/usr/bin/env python3
"""The table of brokers and features, as the interop tests measured it.

The tests write build/interop/table.json and table.md, or table-partial.* where they did not run in
full. This prints the JSON as Markdown again:

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


class Results:
    """What was found, cell by cell; in each group the rows are in the order in which they came."""

    def __init__(self):
        self.versions = {}
        self._rows = {}

    def add(self, group, feature, kind, passed, reason=None):
        """One cell: it works; or, with a reason, the broker cannot; or the test of either failed."""
        cells = self._rows.setdefault((group, feature), {})
        if not passed:
            cells[kind] = "FAILED"
        elif cells.get(kind) != "FAILED":
            cells[kind] = reason or YES

    def write(self, complete):
        """Write both files, and never those of the whole table after a part of the tests."""
        rows = sorted(self._rows.items(), key=lambda row: GROUPS.index(row[0][0]))
        data = {
            "brokers": [{"kind": kind, "name": name, "version": self.versions.get(kind)}
                        for kind, name in BROKERS.items()],
            "rows": [{"group": group, "feature": feature,
                      "cells": {kind: cells.get(kind, "not run") for kind in BROKERS}}
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
    lines += ["", "What the brokers do instead:", ""]
    lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join(lines).lstrip("\n") + "\n"


def head(group, brokers):
    names = [f"{broker['name']} {broker['version'] or ''}".strip() for broker in brokers]
    return ["", f"| {group} | {' | '.join(names)} |", "|---|" + ":-:|" * len(names)]


def cell(text, notes):
    """A tick, or "cannot" with the number of the note that says why."""
    if text in (YES, "FAILED", "not run"):
        return text
    if text not in notes:
        notes.append(text)
    return f"cannot [{notes.index(text) + 1}]"


def main():
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT / "table.json"
    print(markdown(json.loads(file.read_text("utf-8"))), end="")


if __name__ == "__main__":
    main()
