#!/bin/sh
# Checks the pages of the repository, which are README.md and all other files in Markdown: their code
# compiles, their links lead somewhere, and the calls, tests, targets and options that they name
# exist. README.md is short, begins with code, and repeats only numbers and rows from other pages.
#
#     tests/readme.sh STOMP_CAT
# shellcheck disable=SC2016 # a backquote in a pattern is one of Markdown
# shellcheck disable=SC2086 # $pages is a list of words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cat=$1
out=build/tests/readme
rm -rf $out
mkdir -p $out

pages=$(find . -name '*.md' ! -path './build/*' ! -path './.git/*' | sed 's,^\./,,' | sort | tr '\n' ' ')
for page in README.md .github/CONTRIBUTING.md .github/SECURITY.md examples/troubleshooting.md \
    tests/bench/README.md tests/interop/README.md tests/packaging/README.md; do
    check "there is $page" grep -q '^# ' $page
done

# ---- code ----

# Writes each code block to a file of its own. The file's suffix is the block's language.
awk -v out=$out '
    /^```[a-z]/ { file = out "/" ++n "." substr($0, 4); next }
    /^```$/ { if (file) close(file); file = ""; next }
    file { print > file }' $pages

# A program stands for itself. Other code is put into a function that declares what it uses.
fragment() {
    cat <<'END'
#include "stomp_ws.h"
#include <stdio.h>
void handle(const stws_message *message);
void wait_for(const stws_fd *fds, int count, long long ms);
void fragment(stws *client, stws_options options, stws_queue *queue);
void fragment(stws *client, stws_options options, stws_queue *queue) {
    stws_fd fds[3];
    int result = 0, timeout_ms = 0;
    (void)client, (void)options, (void)queue, (void)fds, (void)result, (void)timeout_ms;
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
check "README.md: code begins by line 10" sh -c "head -n 10 README.md | grep -qx '\`\`\`c'"
check "README.md has at most 250 lines" test "$(wc -l <README.md)" -le 250

# The README may show only build files that tests/packaging tests.
is_in_packaging() {
    while read -r line; do
        cat tests/packaging/users/*/CMakeLists.txt tests/packaging/users/*/meson.build |
            sed 's/^ *//' | grep -qxF -e "$line" ||
            { echo "not in tests/packaging/users: $line"; return 1; }
    done <"$1"
}
for block in "$out"/*.cmake "$out"/*.meson; do
    check "tests/packaging tests $block" is_in_packaging "$block"
done

# The tables of measured numbers are generated, not edited by hand.
if has python3 "the numbers in the README are the measured ones"; then
    check "the numbers on speed" python3 tests/bench/readme.py --check
fi

# README.md has a selection of the rows on other clients.
rows_of_clients() {
    sed -n '/^## Compared with other clients$/,/^## /s/^| [a-z].*/&/p' README.md
}
rows_without_a_source() {
    rows_of_clients | while read -r row; do
        grep -qxF -e "$row" tests/interop/README.md || echo "$row"
    done
}
check "README.md has ten rows on other clients" test "$(rows_of_clients | wc -l)" -eq 10
check_silent "each of them is in tests/interop/README.md" rows_without_a_source

# ---- links ----

# anchors PAGE: those of its headings.
anchors() {
    awk '/^```/ { code = !code } !code' "$1" | sed -n 's/^##* //p' | tr '[:upper:]' '[:lower:]' |
        sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}
# links PAGE: the targets of its links, each once.
links() {
    tr -d '\n' <"$1" | grep -oE '\]\([^) ]*\)' | sed 's/](\(.*\))/\1/' | sort -u
}
# dead_links PAGE: the targets that are not there. A target is FILE, FILE#ANCHOR or #ANCHOR.
dead_links() {
    links "$1" | while read -r link; do
        file=$(dirname "$1")/${link%%#*}
        case $link in
            *:*) continue ;;
            '#'*) file=$1 ;;
        esac
        [ -e "$file" ] || { echo "$link"; continue; }
        case $link in
            *'#'*) anchors "$file" | grep -qxF -e "${link#*#}" || echo "$link" ;;
        esac
    done
}
for page in $pages; do
    check_silent "links of $page" dead_links $page
done
check "there are links in a page" sh -c "grep -q '](#' $pages"
check "there are links to files" sh -c "grep -qE '\]\([a-zA-Z.]' $pages"
exist() {
    while read -r file; do [ -e "$file" ] || echo "$file"; done <"$1"
}
grep -hoE '`(tests|examples)/[A-Za-z0-9_./]*`' $pages | tr -d '`' | sort -u >$out/paths
check_silent "named files" exist $out/paths

# ---- names ----

# words PATTERN: the matches in all pages, each once.
words() {
    grep -hoE "$1" $pages | sort -u
}
# missing_from GREP-ARGUMENTS...: prints the names from stdin that do not occur in these files. A
# name that ends in _ stands for all names that begin with it.
missing_from() {
    while read -r name; do
        case $name in
            *_) grep -rqF -e "$name" "$@" ;;
            *) grep -rqwF -e "$name" "$@" ;;
        esac || echo "$name"
    done
}
words '\b(stws|STWS|STOMP_WS)_[A-Za-z0-9_]+' >$out/names
check "the README names functions" grep -qx stws_create $out/names
names_of_the_header() {
    missing_from stomp_ws.h examples/stomp_ws_openssl.h tests/packaging/users <$out/names
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
    words '(`|^)make [a-z-]+' | sed 's/.*make //' | sort -u |
        while read -r target; do grep -q "^$target:" Makefile || echo "make $target"; done
}
options_of_stomp_cat() {
    words 'stomp_cat URL[^#`]*' | tr -s ' ' '\n' | grep '^-' | sort -u |
        while read -r option; do
            $cat --help | grep -qwF -e "$option" || echo "$option"
        done
}
check_silent "the header's names exist" names_of_the_header
check_silent "the tests' names exist" names_of_tests
check_silent "the names of options and programs exist" names_of_options
check_silent "the Makefile's targets exist" names_of_targets
check_silent "the options of stomp_cat exist" options_of_stomp_cat

report
