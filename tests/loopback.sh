#!/bin/sh
# Checks that a client can talk to a broker over the loopback interface. Without this check the
# tests and the demo would fail after some time-outs, each with a different error.
#
#     tests/loopback.sh DIRECTORY-OF-THE-EXAMPLES
set -u

# shellcheck source=tests/processes.sh
. "$(dirname "$0")/processes.sh"

# Sends a message. The errors of the broker and the client go to one file.
works() {
    start_broker "$1/mini_broker" &&
        timeout -k 5 20 "$1/stomp_cat" "$url" -d /topic/loopback -m hello --no-reconnect
} >"$work/error" 2>&1

works "$1" && exit
cat "$work/error" "$work/mini_broker.log"
echo 'Does the loopback interface work? "ip link set lo up" starts it.'
exit 1
