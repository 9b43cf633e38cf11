# Functions for POSIX sh scripts that start processes. Source this file. The output of the processes
# goes to files in the folder $work. clean_up ends the processes and removes the folder. If a sanitizer
# has written a report to one of their files, clean_up prints it and ends the script with status 1.
# shellcheck shell=sh disable=SC2034 # the script that sources this file uses the variables

work=$(mktemp -d) || exit 1
processes=
starts=0

clean_up() {
    # shellcheck disable=SC2086 # $processes holds several process ids
    [ -z "$processes" ] || kill $processes 2>/dev/null || : # some have ended already
    wait
    reports=$(grep -E ': runtime error: |(ERROR|WARNING): [A-Za-z]+Sanitizer' -A 40 "$work"/*.log 2>/dev/null) || :
    rm -rf "$work"
    [ -z "$reports" ] && return
    printf '%s\n' "$reports"
    exit 1
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM PIPE

# start NAME COMMAND...: starts the command in the background. Its output goes to $work/NAME, its
# error output to $work/NAME.log, and $! is its process id.
start() {
    start_name=$1
    shift
    # Remove the old file, so that nobody reads it before the new one exists. A log is kept for
    # clean_up.
    rm -f "$work/$start_name"
    starts=$((starts + 1))
    [ ! -e "$work/$start_name.log" ] || mv "$work/$start_name.log" "$work/$start_name.$starts.log"
    "$@" >"$work/$start_name" 2>"$work/$start_name.log" &
    processes="$processes $!"
}

# wait_for FILE TEXT TENTHS [PROCESS]: waits until the file contains the text. Fails after this number
# of tenths of a second, and when the process has ended without writing the text.
wait_for() {
    tenths=$3
    until grep -qF "$2" "$1" 2>/dev/null; do
        tenths=$((tenths - 1))
        [ "$tenths" -gt 0 ] || return 1
        if [ "${4:-}" ] && ! kill -0 "$4" 2>/dev/null; then
            grep -qF "$2" "$1" 2>/dev/null # written just before the process ended?
            return
        fi
        sleep 0.1
    done
}

# start_broker PROGRAM OPTION...: starts a broker and waits until it listens. Sets url, and broker to
# its process id.
start_broker() {
    start mini_broker "$@"
    broker=$!
    wait_for "$work/mini_broker" READY 300 $broker || return
    url=$(sed -n 's/^READY //p' "$work/mini_broker")
}

# end_broker [-SIGNAL]: ends the broker and waits until its process has ended.
end_broker() {
    kill "$@" "$broker"
    wait "$broker" 2>/dev/null || : # the exit status is that of a process ended by a signal
}

# start_broker_again PROGRAM OPTION...: starts a broker on the same port as the last one.
start_broker_again() {
    again_program=$1 port=${url#ws://*:}
    shift
    start_broker "$again_program" --port "${port%%/*}" "$@"
}
