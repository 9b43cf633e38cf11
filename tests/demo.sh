#!/bin/sh
# The main job, seen from outside: a broker, the smallest client and a publisher, each a process of
# its own on the loopback. Shows what is published arriving, and ends by itself.
#
#     tests/demo.sh [DIRECTORY OF THE PROGRAMS]
set -u

programs=${1:-build}
topic=/topic/notifications
work=$(mktemp -d) || exit 1
processes=

clean_up() {
    # shellcheck disable=SC2086 # a list
    [ -z "$processes" ] || kill $processes 2>/dev/null
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# wait_for FILE TEXT TENTHS: whether the text gets into the file within so many tenths of a second.
wait_for() {
    tenths=$3
    until grep -qF "$2" "$1" 2>/dev/null; do
        tenths=$((tenths - 1))
        [ "$tenths" -gt 0 ] || return 1
        sleep 0.1
    done
}

give_up() {
    printf 'demo: %s\n' "$1"
    head -n 20 "$work"/*
    exit 1
}

# The client may not have subscribed yet when the first one is sent, and a topic keeps nothing: so
# it is sent again until it is heard.
publish() {
    tries=10
    printf '\n$ %s/stomp_cat %s -d %s -m '\''%s'\''\n' "$programs" "$url" "$topic" "$1"
    while [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        timeout 30 "$programs/stomp_cat" "$url" -d "$topic" -m "$1" >"$work/stomp_cat" 2>&1 ||
            give_up "stomp_cat could not publish"
        if wait_for "$work/minimal" "$1" 30; then
            printf 'minimal printed: %s\n' "$(grep -F "$1" "$work/minimal")"
            return
        fi
    done
    give_up "minimal did not get \"$1\""
}

"$programs/mini_broker" --port 0 >"$work/mini_broker" 2>"$work/mini_broker.log" &
processes=$!
wait_for "$work/mini_broker" READY 300 || give_up "the broker did not start"
url=$(sed -n 's/^READY //p' "$work/mini_broker")
printf '$ %s/mini_broker &\nlistens at %s\n' "$programs" "$url"

printf '\n$ %s/minimal %s &\n' "$programs" "$url"
"$programs/minimal" "$url" >"$work/minimal" 2>&1 &
processes="$processes $!"
wait_for "$work/mini_broker.log" connected 300 || give_up "minimal did not connect"
printf 'the broker says: %s\n' "$(head -n 1 "$work/mini_broker.log")"

publish 'Build 4711 is green'
publish 'Café au lait: 3,50 €'
publish '{"id": 7, "text": "JSON is just text"}'

cat <<END

Each notification arrived. Next: start $programs/mini_broker and give the URL that it prints to
$programs/notifications, or to $programs/stomp_cat with "-s $topic".
END
