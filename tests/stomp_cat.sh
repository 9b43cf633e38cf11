#!/bin/sh
# The options of stomp_cat are listed in four places: --help, the man page and two shell
# completions. Checks that each list has exactly the options that the program accepts.
#
#     tests/stomp_cat.sh PROGRAM
#
# Checks that need more than sh are in tests/interop/test_stomp_cat.py: shells and readers of man
# pages.
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cat=$1
out=build/tests/stomp_cat
rm -rf $out
mkdir -p $out

# Prints the words of stdin that are options, each one time.
options() {
    tr -s " ,'\"" '\n' | grep -E '^-(-[a-z][a-z-]*|[A-Za-z])$' | sort -u
}

of_the_program() {
    sed -n 's/.*strcmp(name, \("-[^)]*\)).*/\1 &/p' examples/stomp_cat.c |
        tr '()' '  ' | options
}

of_help() {
    "$cat" --help | sed -n '/^  -/,/^exit:/p' | options
}

of_man_page() {
    awk '/^\.It Fl/ { for (i = 2; i < NF; i++) if ($i == "Fl") print "-" $(i + 1) }
         /^\.It Fl -[a-z-]*$/ { print "-" $3 }' examples/stomp_cat.1 | options
}

of_bash() {
    sed -n "/^_stomp_cat_options='/,/'\$/p" examples/completion/stomp_cat.bash |
        sed 's/^_stomp_cat_options=//' | options
}

of_zsh() {
    sed -n "s/^    '\(([^)]*)\)\{0,1\}\**\(-[A-Za-z-]*\)=\{0,1\}\[.*/\2/p" \
        examples/completion/_stomp_cat | options
}

# is_list NAME: succeeds if the list is long enough. A shorter list means that a function above did
# not find the options.
is_list() {
    [ "$(wc -l <"$out/$1")" -ge 25 ] && grep -qx -e '--json' "$out/$1" && grep -qx -e -s "$out/$1"
}

for list in the_program help man_page bash zsh; do
    of_$list >$out/$list
    check "the options of $list are found" is_list $list
done
for list in help man_page bash zsh; do
    check "$list has exactly the options of the program" diff $out/the_program $out/$list
done

# takes WORD: succeeds if the program accepts this option. For an unknown option it prints "no such
# option".
takes() {
    case $("$cat" "$1" 2>&1 </dev/null) in
        *"unknown option"*) return 1 ;;
    esac
}
while read -r option; do
    check "stomp_cat accepts $option" takes "$option"
done <$out/help
refuse "stomp_cat does not take --junk" "unknown option: --junk" "$cat" --junk

# Wrong arguments must be refused before the program connects.
for option in --request --receipt; do
    refuse "$option without -d" "needs -d" "$cat" ws://127.0.0.1:1 -s /topic/x $option
done
refuse "an invalid URL is named in the error" "begin with ws:// or wss://: junk" \
    "$cat" junk -s /topic/x
refuse "an invalid second URL is named in the error" "begin with ws:// or wss://: /topic/x" \
    "$cat" ws://127.0.0.1:1 /topic/x -s /topic/x
refuse "a receiver without stdout is refused" "stdout is closed" \
    sh -c "$cat ws://127.0.0.1:1 -s /topic/x --no-reconnect >&-"
refuse "a sender works without stdin and stdout" "connection refused" \
    sh -c "$cat ws://127.0.0.1:1 -d /topic/x -m hello --no-reconnect <&- >&-"

check "--help works in any position" \
    sh -c "$cat ws://127.0.0.1 -s /topic/x --help | grep -q '^usage:'"
check "--version" sh -c "[ \"\$($cat --version)\" = \"stomp_cat \$(sed -n \
    's/^.define STOMP_WS_VERSION \"\(.*\)\"/\1/p' stomp_ws.h)\" ]"
for broker in 'Spring Boot' RabbitMQ ActiveMQ Artemis; do
    check "--help has an example for $broker" sh -c "$cat --help | grep -A 1 '^$broker' |
        grep -q 'stomp_cat ws://'"
done

report
