#!/bin/sh
# Starts gdb in the callback of examples/minimal.c. A broker runs, a message is published every
# second, and a breakpoint stops where the message arrives. From there `up` leads through the
# client's functions, and `next` returns to them.
#
#     tests/gdb.sh [GDB-ARGUMENT]...
set -u

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tests/processes.sh
. tests/processes.sh

command -v gdb >/dev/null || { echo "gdb is not installed"; exit 1; }
start_broker build/mini_broker || { echo "the broker did not start"; exit 1; }

publish() {
    while sleep 1; do
        build/stomp_cat "$url" -d /topic/notifications -m "the time is $(date +%T)"
    done
}
start publisher publish

trap '' INT # Ctrl-C shall stop the program in gdb, and not end this script
gdb -q -ex 'break print' -ex run -ex backtrace "$@" --args build/debug/minimal "$url"
