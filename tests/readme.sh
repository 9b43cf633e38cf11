#!/bin/sh
# Everything that the README mentions exists: its code compiles, its links lead somewhere, and the
# calls, tests, targets and options that it names are there.
#
#     tests/readme.sh STOMP_CAT
# shellcheck disable=SC2016 # a backquote in a pattern is one of Markdown
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cat=$1
out=build/tests/readme
rm -rf $out
mkdir -p $out

# ---- code ----

# Each block into a file of its own, by its language.
awk -v out=$out '
    /^```[a-z]/ { file = out "/" ++n "." substr($0, 4); next }
    /^```$/ { if (file) close(file); file = ""; next }
    file { print > file }' README.md

# A program stands for itself, other code in a function that has what it takes for granted.
fragment() {
    cat <<'END'
#include "stomp_ws.h"
#include <stdio.h>
void handle(const stws_message *message);
void wait_for(const stws_fd *fds, int count, long long ms);
void fragment(stws *client, stws_options options, stws_fd *fds, int result, int timeout_ms);
void fragment(stws *client, stws_options options, stws_fd *fds, int result, int timeout_ms) {
    (void)client, (void)options, (void)fds, (void)result, (void)timeout_ms;
END
    cat "$1"
    echo '}'
}
compiles() {
    if grep -q 'int main' "$1"; then cat "$1"; else fragment "$1"; fi >"$1.whole"
    ${CC:-cc} -std=c99 -pedantic-errors -Wall -Wno-unused -Werror -I. -x c -fsyntax-only "$1.whole"
}
compiles_as_cpp() {
    printf '#include "examples/stomp_ws.hpp"\n#include <iostream>\nint main() {\n' >"$1.whole"
    cat "$1" >>"$1.whole"
    echo '}' >>"$1.whole"
    "$2" -std=c++17 -pedantic-errors -Wall -Werror -I. -x c++ -fsyntax-only "$1.whole"
}
found=0
for block in "$out"/*.c; do
    found=$((found + 1))
    check "$block compiles" compiles "$block"
done
for compiler in g++ clang++; do
    has $compiler "the C++ in the README" || continue
    for block in "$out"/*.cpp; do
        check "$compiler compiles $block" compiles_as_cpp "$block" $compiler
    done
done
check "there is code in it" test $found -ge 5
check "code begins by line 10" sh -c "head -n 10 README.md | grep -qx '\`\`\`c'"

# What is built by tests/packaging is what is shown.
is_in_packaging() {
    while read -r line; do
        cat tests/packaging/users/*/CMakeLists.txt tests/packaging/users/*/meson.build |
            sed 's/^ *//' | grep -qxF -e "$line" || { echo "not tried: $line"; return 1; }
    done <"$1"
}
for block in "$out"/*.cmake "$out"/*.meson; do
    check "$block is tried" is_in_packaging "$block"
done

# What is measured is not copied by hand.
if has python3 "the numbers in the README are the measured ones"; then
    check "the numbers on speed" python3 tests/bench/readme.py --check
fi

# ---- links ----

sed -n 's/^##* //p' README.md | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g' |
    sort -u >$out/anchors
tr -d '\n' <README.md | grep -o '](#[^)]*)' | sed 's/](#\(.*\))/\1/' | sort -u >$out/links
check "there are links" test -s $out/links
check "links in the page" sh -c "! comm -23 $out/links $out/anchors | grep ."
tr -d '\n' <README.md | grep -o ']([^)#:]*)' | sed 's/](\(.*\))/\1/' | sort -u >$out/files
exist() {
    while read -r file; do [ -e "$file" ] || echo "$file"; done <"$1"
}
check "there are links to files" test -s $out/files
check_silent "linked files" exist $out/files
grep -oE '`(tests|examples)/[A-Za-z0-9_./]*`' README.md | tr -d '`' | sort -u >$out/paths
check_silent "named files" exist $out/paths

# ---- names ----

# words PATTERN: what the README has of it, each once.
words() {
    grep -oE "$1" README.md | sort -u
}
# missing_from GREP-ARGUMENTS...: prints the names from stdin that are not in those files. A name that
# ends in _ stands for all names that begin with it.
missing_from() {
    while read -r name; do
        case $name in
            *_) grep -rqF -e "$name" "$@" ;;
            *) grep -rqwF -e "$name" "$@" ;;
        esac || echo "$name"
    done
}
words '\b(stws|STWS|STOMP_WS)_[A-Za-z0-9_]+' >$out/names
check "there are names" grep -qx stws_create $out/names
names_of_the_header() {
    missing_from stomp_ws.h tests/packaging/users <$out/names
}
names_of_tests() {
    words '\btest_[a-z0-9_]+' | missing_from tests --include='*.c' --include='*.py'
}
names_of_options() {
    words '`[a-z]+(_[a-z]+)+`' | tr -d '`' |
        missing_from stomp_ws.h tests examples --include='*.[chj]*' --include='*.py' |
        while read -r name; do [ -f "tests/fuzz/$name.c" ] || echo "$name"; done
}
names_of_targets() {
    grep -oE '(`|^)make [a-z-]+' README.md | sed 's/.*make //' | sort -u |
        while read -r target; do grep -q "^$target:" Makefile || echo "make $target"; done
}
options_of_stomp_cat() {
    sed -n 's/.*stomp_cat URL\([^#]*\).*/\1/p' README.md | tr -s ' ' '\n' | grep '^-' | sort -u |
        while read -r option; do
            $cat --help | grep -qwF -e "$option" || echo "$option"
        done
}
check_silent "names of the header" names_of_the_header
check_silent "names of tests" names_of_tests
check_silent "names of options and programs" names_of_options
check_silent "names of targets" names_of_targets
check_silent "options of stomp_cat" options_of_stomp_cat

report
