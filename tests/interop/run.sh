#!/bin/sh
# Runs the interop tests. Prints the failures, then the table of brokers and features, and "N
# passed, N failed" in the last line.
set -u
cd "$(dirname "$0")/../.." || exit 1

output=build/interop
counts=$output/counts
mkdir -p "$output"
# Remove the table of an earlier run.
rm -f "$output"/table*.json "$output"/table*.md

# If a broker does not work at all, some failures show it. Each may wait for a minute, so the run
# stops then.
TIME_LIMIT=1400 sh tests/run.sh \
    'build/venv/bin/python -m pytest -q --maxfail=10 tests/interop' >"$counts"
status=$?
sed '$d' "$counts"
if [ -e $output/table.json ]; then
    printf '\nThe table of brokers and features, %s/table.md:\n\n' "$output"
    build/venv/bin/python tests/interop/table.py || status=1
    if [ "$status" -eq 0 ] && ! build/venv/bin/python tests/interop/table.py --check; then
        echo "FAILED: the table in tests/interop/README.md differs: tests/interop/table.py --write"
        status=1
    fi
else
    printf '\nThere is no table, because not all tests that make it were run.\n'
    status=1
fi
tail -n 1 "$counts"
exit "$status"
