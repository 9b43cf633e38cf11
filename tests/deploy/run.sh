#!/bin/sh
# Runs the deploy tests. Prints the failures, then the table of outcomes, and "N passed, N failed, N
# skipped" in the last line. A test is skipped if it needs a program that is not installed. If all
# tests passed, the table in tests/interop/README.md must have the same rows and outcomes.
#
#     tests/deploy/run.sh [MODULE...]     # for example test_idle; without it all modules
#
# Each module is a program of its own. JOBS of them run at the same time (3).
set -u
cd "$(dirname "$0")/../.." || exit 1

output=build/deploy
counts=$output/counts
mkdir -p "$output"
rm -rf "$output/rows" "$output/table.md"

# The slowest modules first.
modules=${*:-test_spring test_rabbitmq test_idle test_proxies test_network test_activemq}
all=$#

# Builds what Maven builds before anything is timed.
build/venv/bin/python tests/deploy/prepare.py || exit 1

set --
for module in $modules; do
    set -- "$@" "build/venv/bin/python -m pytest -q --tb=short -p no:cacheprovider tests/deploy/$module.py"
done
JOBS=${JOBS:-3} TIME_LIMIT=500 sh tests/run.sh "$@" >"$counts"
status=$?
sed '$d' "$counts"
printf '\nThe table of outcomes, %s/table.md:\n\n' "$output"
build/venv/bin/python tests/deploy/table.py || status=1
echo
is_whole() {
    [ "$all" -eq 0 ] && [ "$status" -eq 0 ] && tail -n 1 "$counts" | grep -q ', 0 skipped$'
}
if is_whole && ! build/venv/bin/python tests/deploy/table.py --check; then
    echo "FAILED: the table in tests/interop/README.md differs: run tests/deploy/table.py --write"
    tail -n 1 "$counts" | awk '{ $3 += 1; print }'
    exit 1
fi
tail -n 1 "$counts"
exit "$status"
