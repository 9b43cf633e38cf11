#!/bin/sh
# Runs each example against a broker on the loopback interface, and checks that each begins with the
# question that it answers. compile.sh compiles them with all compilers.
#
#     tests/examples/run.sh DIRECTORY-OF-THE-EXAMPLES
# shellcheck disable=SC2086 # a compiler, and flags, are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
# shellcheck source=tests/processes.sh
. tests/processes.sh
trap 'rm -f "$checks_output"; clean_up' EXIT
examples=$1
cat=$examples/stomp_cat
broker_program=$examples/mini_broker
cc=${CC:-cc}
out=build/tests/examples
rm -rf $out
mkdir -p $out
LIMIT=600 # limit in tenths of a second for an event

# ---- the first lines of each example ----

asks() {
    head -n 1 "$1" | grep -q '^/[/*] .*?$'
}
for source in examples/*.c examples/*.cpp; do
    case $source in */mini_broker.c | */stomp_cat.c) continue ;; esac # tools, with a --help
    check "$source begins with its question" asks "$source"
done

# ---- the examples at work ----

# publish NAME DESTINATION TEXT OPTION...: sends the text until it stands in $work/NAME. A topic
# does not store messages for later subscribers.
publish() {
    publish_to=$1 publish_destination=$2 publish_text=$3 tries=20
    shift 3
    while [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        timeout -k 5 30 $cat "$url" -d "$publish_destination" -m "$publish_text" "$@"
        if wait_for "$work/$publish_to" "$publish_text" 30; then return; fi
    done
    cat "$work/$publish_to.log"
    return 1
}

check "the broker starts" start_broker "$broker_program"

# printed NAME TEXT...: succeeds if each line of $work/NAME is one of these texts, and each text
# occurs.
printed() {
    printed_file=$work/$1
    shift
    printf '%s\n' "$@" | sort -u >"$work/expected"
    sort -u "$printed_file" | diff "$work/expected" -
}

start minimal "$examples/minimal" "$url"
check "minimal prints" publish minimal /topic/notifications "for minimal"
check "minimal prints nothing else" printed minimal "for minimal"
start notifications "$examples/notifications" "$url" -c 2 -d /topic/one -d /topic/two
check "notifications prints" publish notifications /topic/two "for notifications"
check "notifications prints the destination" printed notifications "/topic/two: for notifications"
check "event_loop ticks" prints "tick 1" "$examples/event_loop" "$url" 1
check "many_clients measures itself" sh -c "'$examples/many_clients' 50 20 | grep -E '^[0-9]'"
check "static_memory" sh -c "'$examples/static_memory' '$url' | grep -x 'no heap was used'"

no_allocator() {
    $cc -g -I. -o $out/static_memory examples/static_memory.c tests/examples/no_malloc.c \
        -pthread &&
        timeout 60 $out/static_memory "$url" && ! timeout 60 $out/static_memory
}
# The example in C++. `make check` also runs it with sanitizers.
compile_cpp() {
    $cxx -std=c++17 -o $out/cpp examples/cpp.cpp -pthread
}
if cxx_compiler "examples/cpp.cpp is compiled" "examples/cpp.cpp is run"; then
    check "$cxx examples/cpp.cpp" compile_cpp
    check "cpp" prints "$(cat tests/examples/cpp.txt)" $out/cpp "$url"
fi

start service "$examples/request_reply" "$url" serve
check "request_reply" prints "14 bytes" "$examples/request_reply" "$url" ask "How long am I?"

# A worker dies during a job, and another worker gets the job. The worker's program waits at a gate
# meanwhile.
mkfifo "$work/gate" "$work/lines"
cat >"$work/hold" <<'END'
cat >>"$0.taken"
read -r _ <"${0%/*}/gate"
END
worker_dies() {
    start first "$examples/work_queue" "$url" /queue/jobs sh "$work/hold"
    first=$!
    $cat "$url" -d /queue/jobs -m "job one" --receipt &&
        wait_for "$work/hold.taken" "job one" $LIMIT
    kill -KILL $first
    wait $first 2>/dev/null
    echo >"$work/gate"
    start second "$examples/work_queue" "$url" /queue/jobs cat
    wait_for "$work/second" "job one" $LIMIT
}
check "work_queue: a job survives its worker" worker_dies

cat >"$work/fail" <<'END'
cat >>"$0.tried"
echo >>"$0.tried"
exit 1
END
job_fails() {
    start third "$examples/work_queue" "$url" /queue/hopeless sh "$work/fail"
    $cat "$url" -d /queue/hopeless -m "job two" --receipt && wait_for "$work/fail.tried" "job two
job two" $LIMIT
}
check "work_queue: a job that fails is assigned again" job_fails

# The broker falls silent and then dies. The publisher has sent lines that the broker has not
# confirmed.
nothing_is_lost() {
    exec 9<>"$work/lines"
    "$examples/confirmed_publisher" "$url" /queue/safe <"$work/lines" 9>&- \
        >"$work/publisher" 2>"$work/publisher.log" &
    processes="$processes $!"
    wait_for "$work/mini_broker.log" "connected" $LIMIT || return
    kill -STOP "$broker"
    printf 'one\ntwo\nthree\n' >&9
    end_broker -KILL
    start_broker_again "$broker_program" 9>&- || return
    exec 9>&-
    wait_for "$work/publisher" "3 confirmed" $LIMIT && prints "one
two
three" $cat "$url" -s /queue/safe -n 3
}
end_broker
check "the broker starts again" start_broker_again "$broker_program"
check "confirmed_publisher: nothing is lost" nothing_is_lost

# The token arrives late, and changes while the broker is away.
token_is_fresh() {
    end_broker
    start_broker_again "$broker_program" --login token:early || return
    start refresh "$examples/token_refresh" "$url" "$work/token" /topic/t
    echo early >"$work/new" && mv "$work/new" "$work/token"
    publish refresh /topic/t "with the first" -u token -p early || return
    echo late >"$work/new" && mv "$work/new" "$work/token"
    end_broker
    start_broker_again "$broker_program" --login token:late &&
        publish refresh /topic/t "with the second" -u token -p late
}
check "token_refresh" token_is_fresh
check "token_refresh prints the messages and nothing else" \
    printed refresh "with the first" "with the second"
tells_of_the_end() {
    cat "$work/refresh.log"
    grep -q . "$work/refresh.log" && ! grep -vx '.*; trying again' "$work/refresh.log"
}
check "token_refresh reports connections that have ended" tells_of_the_end

through_a_pipe() {
    seq 3000 >"$work/numbers"
    sed 's|^|/topic/pipe: |' "$work/numbers" >"$work/expected"
    "$examples/sans_io" write /topic/pipe <"$work/numbers" | $1 | "$examples/sans_io" read |
        cmp - "$work/expected"
}
check "sans_io" through_a_pipe cat
check "sans_io, byte by byte" through_a_pipe "dd bs=1 status=none"
refuse "sans_io refuses invalid input" "a WebSocket frame breaks RFC 6455" \
    sh -c "echo rubbish | '$examples/sans_io' read"

# Tests static_memory again, including calls by libc. A program with a sanitizer cannot be linked in
# this way.
start_broker "$broker_program" || exit 1
check "static_memory does not cause a call of an allocator" no_allocator

report
