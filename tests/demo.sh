#!/bin/sh
# Shows the main job of the library. Starts a broker and the smallest client, publishes some
# messages, and prints what the client prints. Each program is a process of its own. They
# communicate over the loopback interface.
#
#     tests/demo.sh [DIRECTORY OF THE PROGRAMS]
set -u

programs=${1:-build}
topic=/topic/notifications
# shellcheck source=tests/processes.sh
. "$(dirname "$0")/processes.sh"

give_up() {
    printf '\ndemo: %s\n' "$1"
    head -n 20 "$work"/*
    exit 1
}

# The client may not have subscribed yet when the first message is sent, and a topic stores no messages.
# So the message is sent again until the client prints it.
publish() {
    tries=10
    printf '\n$ %s/stomp_cat %s -d %s -m '\''%s'\''\n' "$programs" "$url" "$topic" "$1"
    while [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        timeout -k 5 30 "$programs/stomp_cat" "$url" -d "$topic" -m "$1" >"$work/stomp_cat" 2>&1 ||
            give_up "stomp_cat could not publish"
        if wait_for "$work/minimal" "$1" 30; then
            printf 'minimal printed: %s\n' "$(grep -F "$1" "$work/minimal")"
            return
        fi
    done
    give_up "minimal did not get \"$1\""
}

sh "$(dirname "$0")/loopback.sh" "$programs" || exit 1
start_broker "$programs/mini_broker" || give_up "the broker did not start"
printf '$ %s/mini_broker &\nREADY %s\n' "$programs" "$url"

printf '\n$ %s/minimal %s &\n' "$programs" "$url"
start minimal "$programs/minimal" "$url"
wait_for "$work/mini_broker.log" connected 300 || give_up "minimal did not connect"
printf 'mini_broker printed: %s\n' "$(head -n 1 "$work/mini_broker.log")"

publish 'Build 4711 is green'
publish 'Café au lait: 3,50 €'
publish '{"id": 7, "text": "JSON is just text"}'

cat <<END

Each notification arrived. To try more, start $programs/mini_broker. It prints a URL. Then start
$programs/minimal URL, or $programs/stomp_cat URL -s $topic
END
