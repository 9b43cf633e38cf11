#!/usr/bin/env python3
"""The aims of the project: what was wanted, what is, and where the rest goes.

Each program of the benchmark leaves its aims in build/bench/targets, met or missed, and beside what
was missed the profile that it took of it. Run by itself this shows all of them as one table; a
program that has left none is a failure, a missed aim is not.
"""

import json
import sys
import textwrap

from loopback import BUILD

FOLDER = BUILD / "bench" / "targets"
PROGRAMS = ("instructions", "run", "micro", "many", "size")


def short(value):
    """Three digits, and never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.995 else f"{value:.2g}"


class Targets:
    """Those of one program. `item` is where the project's list has it; `why` takes a profile, and
    is called for what is missed only, if profiles are wanted."""

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
    """All that were left, in the order of the project's list; and the programs without."""
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
        print(f"FAILED {program}: has left no targets")
    met = sum(one["met"] for one in found)
    print(f"{met} targets met, {len(found) - met} missed")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
