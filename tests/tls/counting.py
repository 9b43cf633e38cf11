"""Runs a program's tests and counts them in the form that tests/run.sh adds up."""

import sys
import traceback


def run_tests(names, wanted=()):
    """Runs the functions test_... of a module, or only the wanted ones. Returns the exit status."""
    passed = failed = 0
    for name, test in list(names.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        try:
            test()
            passed += 1
        except Exception:  # every exception is one failed check, and is shown completely
            failed += 1
            print(f"FAILED {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
