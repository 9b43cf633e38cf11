"""Runs a program's own tests and counts them in the form that tests/run.sh adds up."""

import sys
import traceback


def run_tests(names, wanted=()):
    """The functions test_... among a module's globals, or the wanted ones of them: exit status."""
    passed = failed = 0
    for name, test in list(names.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        try:
            test()
            passed += 1
        except Exception:  # whatever it is, it is one failed check, shown in full
            failed += 1
            print(f"FAILED {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
