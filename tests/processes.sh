# To be sourced by a POSIX sh script that starts processes on the loopback: what they print goes
# into $work, and clean_up ends them and removes it.
# shellcheck shell=sh disable=SC2034 # what it sets is for that script

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

# start NAME COMMAND...: in the background, its output in $work/NAME and $work/NAME.log; $! is it.
start() {
    start_name=$1
    shift
    rm -f "$work/$start_name" "$work/$start_name.log" # the child may open them late
    "$@" >"$work/$start_name" 2>"$work/$start_name.log" &
    processes="$processes $!"
}

# wait_for FILE TEXT TENTHS [PROCESS]: whether the text gets into the file within so many tenths of a
# second, and before the process has ended.
wait_for() {
    tenths=$3
    until grep -qF "$2" "$1" 2>/dev/null; do
        tenths=$((tenths - 1))
        [ "$tenths" -gt 0 ] || return 1
        if [ "${4:-}" ] && ! kill -0 "$4" 2>/dev/null; then
            grep -qF "$2" "$1" 2>/dev/null # its last words
            return
        fi
        sleep 0.1
    done
}

# start_broker PROGRAM OPTION...: a broker that listens, at $url, and is the process $broker.
start_broker() {
    start mini_broker "$@"
    broker=$!
    wait_for "$work/mini_broker" READY 300 $broker || return
    url=$(sed -n 's/^READY //p' "$work/mini_broker")
}

# end_broker [-SIGNAL]: it is gone when this returns.
end_broker() {
    kill "$@" "$broker"
    wait "$broker" 2>/dev/null
}

# start_broker_again PROGRAM OPTION...: another one where the last one was.
start_broker_again() {
    again_program=$1 port=${url#ws://*:}
    shift
    start_broker "$again_program" --port "${port%%/*}" "$@"
}
