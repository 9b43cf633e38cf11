#!/bin/sh
# stomp_cat has four lists of its options: --help, its man page and two completions. Each must be the
# list of the options that the program takes.
#
#     tests/stomp_cat.sh PROGRAM
#
# tests/interop/test_stomp_cat.py has what needs more than sh: the shells and readers of man pages.
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cat=$1
out=build/tests/stomp_cat
rm -rf $out
mkdir -p $out

# The words of stdin that are options, each once.
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

# is_list NAME: whether so much was found that it cannot be a mistake of those above.
is_list() {
    [ "$(wc -l <"$out/$1")" -ge 25 ] && grep -qx -e '--json' "$out/$1" && grep -qx -e -s "$out/$1"
}

for list in the_program help man_page bash zsh; do
    of_$list >$out/$list
    check "the options of $list are found" is_list $list
done
for list in help man_page bash zsh; do
    check "$list has the options of the program" diff $out/the_program $out/$list
done

# What the program says of a word that is no option, of all those that are it does not.
takes() {
    case $("$cat" "$1" 2>&1 </dev/null) in
        *"no such option"*) return 1 ;;
    esac
}
while read -r option; do
    check "stomp_cat takes $option" takes "$option"
done <$out/help
refuse "stomp_cat does not take --junk" "no such option: --junk" "$cat" --junk

# What cannot be done is refused before anything is connected.
for option in --request --receipt; do
    refuse "$option without -d" "needs -d" "$cat" ws://127.0.0.1:1 -s /topic/x $option
done
refuse "a URL that is none is named" "begin with ws:// or wss://: junk" "$cat" junk -s /topic/x
refuse "a second URL that is none is named" "begin with ws:// or wss://: /topic/x" \
    "$cat" ws://127.0.0.1:1 /topic/x -s /topic/x
refuse "with stdout closed" "stdout is closed" \
    sh -c "$cat ws://127.0.0.1:1 -s /topic/x --no-reconnect >&-"
refuse "a sender does without stdin and stdout" "connection refused" \
    sh -c "$cat ws://127.0.0.1:1 -d /topic/x -m hello --no-reconnect <&- >&-"

check "--help wherever it stands" sh -c "$cat ws://127.0.0.1 -s /topic/x --help | grep -q '^usage:'"
check "--version" sh -c "[ \"\$($cat --version)\" = \"stomp_cat \$(sed -n \
    's/^.define STOMP_WS_VERSION \"\(.*\)\"/\1/p' stomp_ws.h)\" ]"
for broker in 'Spring Boot' RabbitMQ ActiveMQ Artemis; do
    check "--help has an example for $broker" sh -c "$cat --help | grep -A 1 '^$broker' |
        grep -q 'stomp_cat ws://'"
done

report
