#!/bin/sh
# Shows the web page with live data. The mini broker serves the page, and stomp_cat publishes a
# notification about every second. Runs until Ctrl-C, or for DEMO_SECONDS.
#
#     [DEMO_SECONDS=N] [DEMO_PORT=N] tests/web/demo.sh
set -u

cd "$(dirname "$0")/../.." || exit 1
topic=/topic/notifications
seconds=${DEMO_SECONDS:-0}
broker=
work=$(mktemp -d) || exit 1

clean_up() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

give_up() {
    printf 'demo: %s\n' "$1" >&2
    cat "$work"/*.log >&2
    if [ -n "$broker" ] && ! kill -0 "$broker" 2>/dev/null; then
        wait "$broker"
        printf 'demo: the broker has ended with status %s\n' $? >&2
    fi
    exit 1
}

start_broker() {
    : >"$work/broker.log"
    build/mini_broker --files build/web/site --port "${DEMO_PORT:-0}" --quiet \
        >"$work/broker.log" 2>&1 &
    broker=$!
    tenths=300
    until grep -q '^READY' "$work/broker.log"; do
        tenths=$((tenths - 1))
        { [ "$tenths" -gt 0 ] && kill -0 "$broker" 2>/dev/null; } || give_up "no broker"
        sleep 0.1
    done
    url=$(sed -n 's/^READY //p' "$work/broker.log")
    page=${url#ws}
    page=http${page%/notifications/websocket}/
}

stomp_cat() {
    build/stomp_cat "$url" -d "$topic" -t 60 "$@" >"$work/stomp_cat.log" 2>&1 ||
        give_up "stomp_cat could not publish"
}

# Level, origin and text of each notification.
stories() {
    cat <<'END'
success ci Build 4711 is green: 1,208 tests in 3 min 12 s
info shop Order 20931 was paid, 3 articles to Zürich
info door Front door opened
warning disk /var is 91 % full on db-2
success deploy api 2.14.0 is live in Frankfurt
info shop Order 20932 was paid, 1 article to Kraków
error mail smtp.example.org refused 12 messages: 451 try again later
info sensor Greenhouse 3: 24.6 °C, humidity 61 %
success backup The nightly backup is complete, 48.2 GB
info shop Order 20933 was paid, 7 articles to Αθήνα
warning cert The certificate of shop.example.org expires in 14 days
success mail The queue is empty again
info calendar Stand-up in five minutes, room “Ada”
error ci Build 4712 failed: 2 of 1,209 tests
info sensor <b>This</b> is text too: nothing in here is HTML
success ci Build 4713 is green again
END
}

# Readings that arrive faster than everything else.
burst() {
    awk -v turn="$1" 'BEGIN {
        n = split("Greenhouse 1,Greenhouse 2,Cellar,Server room,Roof,Garage,Cold store", place, ",")
        for (i = 0; i < 3 + turn % 4; i++)
            printf "%s: %.1f °C\n", place[1 + (turn + i) % n], 4 + (turn * 7 + i * 31) % 200 / 10
    }' | stomp_cat -H from:sensor -H level:info
}

out_of_time() {
    [ "$seconds" -gt 0 ] && [ $(($(date +%s) - began)) -ge "$seconds" ]
}

publish() {
    turn=0
    while :; do
        while read -r level origin text; do
            out_of_time && return
            turn=$((turn + 1))
            stomp_cat -H "level:$level" -H "from:$origin" -m "$text"
            [ $((turn % 5)) -ne 0 ] || burst "$turn" || exit 1
            sleep "$((turn * 3 % 4 / 3)).$((2 + turn * 7 % 8))"
        done <"$work/stories"
    done
}

sh tests/web/build.sh && make -s build/mini_broker build/stomp_cat || exit 1
stories >"$work/stories"
start_broker
printf 'The page: %s\n' "$page"
printf 'Publish:  build/stomp_cat %s -d %s -m hello\n' "$url" "$topic"
if [ "$seconds" -eq 0 ]; then echo 'Press Ctrl-C to end it.'; fi
began=$(date +%s)
publish
