#!/bin/sh
# Runs the interop tests and prints what they found: what failed, the table of brokers and features,
# and in the last line "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1

output=build/interop
counts=$output/counts
mkdir -p "$output"
# A table of an earlier run is none of this one.
rm -f "$output"/table*.json "$output"/table*.md

# A broker that does nothing right is seen after some failures, each of which may wait for a minute.
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
    printf '\nThere is no table, for the tests that make it did not all run.\n'
    status=1
fi
tail -n 1 "$counts"
exit "$status"
