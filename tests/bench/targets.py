#!/usr/bin/env python3
"""The project's targets: what was wanted, what was reached, and where the rest of the cost is.

Each program of the benchmark writes its targets to build/bench/targets, as met or missed. A missed
target has a profile that shows where the cost is. This script prints all targets as one table. A
program without a file is a failure. A missed target is not a failure.
"""

import json
import sys
import textwrap

from loopback import BUILD

FOLDER = BUILD / "bench" / "targets"
PROGRAMS = ("instructions", "run", "micro", "many", "size")


def short(value):
    """Formats a number with three digits and without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.995 else f"{value:.2g}"


class Targets:
    """The targets of one program. `item` is the number in the project's list. `why` is a function
    that returns a profile. It is called only for a missed target, and only if profiles are wanted.
    """

    def __init__(self, program, profiles=True):
        self._file, self._found, self._profiles = FOLDER / f"{program}.json", [], profiles

    def at_most(self, item, name, now, wanted, unit="", why=None):
        self.add(item, name, now <= wanted, f"at most {short(wanted)} {unit}",
                 f"{short(now)} {unit}", why)

    def at_least(self, item, name, now, wanted, unit="", why=None):
        self.add(item, name, now >= wanted, f"at least {short(wanted)} {unit}",
                 f"{short(now)} {unit}", why)

    def add(self, item, name, met, wanted, now, why=None):
        wanted, now = wanted.strip(), now.strip()
        reason = why() if why and self._profiles and not met else ""
        self._found.append({"item": item, "name": name, "met": bool(met), "wanted": wanted,
                            "now": now, "why": reason})
        print(f"target {'met' if met else 'missed'}: {name}: {now}, wanted {wanted}", flush=True)
        if reason:
            print(textwrap.indent(textwrap.fill(reason, 94), "    "), flush=True)

    def write(self):
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._found, indent=1) + "\n")


def collect():
    """Returns all targets in the order of the project's list, and the programs that left none."""
    files = {program: FOLDER / f"{program}.json" for program in PROGRAMS}
    missing = [program for program, file in files.items() if not file.exists()]
    found = [target for program, file in files.items() if program not in missing
             for target in json.loads(file.read_text())]
    return sorted(found, key=lambda target: target["item"]), missing


ROW = "{:>4}  {:60} {:>34} {:>26}  {}"


def main():
    found, missing = collect()
    print(ROW.format("item", "target", "wanted", "now", ""))
    for one in found:
        print(ROW.format(one["item"], one["name"], one["wanted"], one["now"],
                         "met" if one["met"] else "MISSED"))
        if one["why"]:
            print(textwrap.indent(textwrap.fill(one["why"], 94), " " * 6))
    for program in missing:
        print(f"FAILED {program}: wrote no targets")
    met = sum(one["met"] for one in found)
    print(f"{met} targets met, {len(found) - met} missed")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
