#!/usr/bin/env python3
"""Compares the attack table of .github/SECURITY.md with the tests: each row names a test that exists
and is run, and each test of test_attacks.c has a row. A row is one check.

    tests/tools/check_attacks.py
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r"^\|(?:[^|\n]*\|){4} `(\w+)` \|$", re.MULTILINE)


def section():
    text = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    return text.partition("\n## Attacks\n")[2].partition("\n## ")[0]


def tests_that_run():
    """Returns the names in RUN() of C files, the functions that tests/tls/run.py collects, and the
    fuzz targets."""
    names = {path.stem for path in ROOT.glob("tests/fuzz/fuzz_*.c")}
    for path in [*ROOT.glob("tests/unit/*.c"), *ROOT.glob("tests/fault/*.c")]:
        names.update(re.findall(r"^    RUN\((\w+)\);", path.read_text(), re.MULTILINE))
    script = (ROOT / "tests/tls/run.py").read_text()
    return names | set(re.findall(r"^def (test_\w+)\(", script, re.MULTILINE))


def main():
    rows, tests = ROW.findall(section()), tests_that_run()
    attacks = re.findall(r"^    RUN\((\w+)\);",
                         (ROOT / "tests/fault/test_attacks.c").read_text(), re.MULTILINE)
    wrong = [f"a row names {name}, which no test runs" for name in rows if name not in tests]
    wrong += [f"{name} has no row" for name in attacks if name not in rows]
    for line in wrong:
        print(f"FAILED {line}")
    passed = len(rows) + len(attacks) - len(wrong)
    print(f"{passed} passed, {len(wrong)} failed")
    return 1 if wrong or len(rows) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
