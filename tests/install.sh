#!/bin/sh
# Checks that `make install` puts each file where programs look for it, also if the path contains
# blanks and parentheses.
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
out=build/tests/install
rm -rf $out
mkdir -p $out

install() {
    env MAKEFLAGS= make -s install DESTDIR="$1" PREFIX="$2"
}

installed() {
    (cd "$1" && find . ! -type d | sort)
}

expected() {
    while read -r file; do echo ".$1/$file"; done <<END
bin/stomp_cat
include/stomp_ws.h
share/bash-completion/completions/stomp_cat
share/cmake/stomp_ws/stomp_ws-config-version.cmake
share/cmake/stomp_ws/stomp_ws-config.cmake
share/man/man1/stomp_cat.1
share/man/man3/stomp_ws.3
share/pkgconfig/stomp_ws.pc
share/zsh/site-functions/_stomp_cat
END
}

# files_with FOLDER TEXT: prints the names of the text files in the folder that contain the text.
files_with() {
    grep -rlIF -e "$2" "$1"
    return 0
}

# same_files FOLDER: succeeds if the installed files are identical with those of the project, and
# the manual is complete.
same_files() {
    cmp stomp_ws.h "$1/include/stomp_ws.h" && cmp examples/stomp_cat.1 "$1/share/man/man1/stomp_cat.1" &&
        cmp examples/completion/stomp_cat.bash "$1/share/bash-completion/completions/stomp_cat" &&
        cmp examples/completion/_stomp_cat "$1/share/zsh/site-functions/_stomp_cat" &&
        grep -qi '^\.SH NAME' "$1/share/man/man3/stomp_ws.3" &&
        [ "$(wc -l <"$1/share/man/man3/stomp_ws.3")" -gt 200 ]
}

# unreadable FOLDER: prints the names of the files that some users may not read.
unreadable() {
    find "$1" -type f ! -perm -444
}

# installs NAME DESTDIR PREFIX: installs everything and checks the result. NAME is part of the
# checks' names.
installs() {
    check "make install, $1" install "$2" "$3"
    installed "$2" >$out/installed || :
    expected "$3" >$out/expected
    check "exactly the expected files are installed, $1" diff $out/expected $out/installed
    check "the installed stomp_cat runs, $1" "$2$3/bin/stomp_cat" --version
    check "the files are identical with those of the project, $1" same_files "$2$3"
    check_silent "all users may read the files, $1" unreadable "$2"
    check_silent "no file contains DESTDIR, $1" files_with "$2" "$2"
}

installs "plain" "$PWD/$out/root" /opt/x
installs "with blanks and parentheses" "$PWD/$out/a root (two)" "/opt/my programs (x)"

# Succeeds if the compiler finds the header with the flags that pkg-config prints.
compiles_with_pkg_config() {
    flags=$(PKG_CONFIG_PATH="$1/share/pkgconfig" pkg-config --cflags stomp_ws) || return
    echo '#include "stomp_ws.h"' >$out/one.c
    eval "${CC:-cc} $flags -fsyntax-only $out/one.c"
}
prefix="$PWD/$out/my prefix"
check "make install with PREFIX and without DESTDIR" install "" "$prefix"
if has pkg-config "the flags in stomp_ws.pc"; then
    check "the flags of pkg-config work if PREFIX contains a blank" compiles_with_pkg_config "$prefix"
fi

report
