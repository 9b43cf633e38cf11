#!/bin/sh
# `make install` puts each file where programs look for it, also below folders with odd names.
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

# names FOLDER TEXT: the text files of the folder that contain it.
names() {
    grep -rlIF -e "$2" "$1"
    return 0
}

# installs NAME DESTDIR PREFIX
installs() {
    check "make install, $1" install "$2" "$3"
    installed "$2" >$out/installed
    expected "$3" >$out/expected
    check "each file has its place, $1" diff $out/expected $out/installed
    check "stomp_cat runs from there, $1" "$2$3/bin/stomp_cat" --version
    check_silent "no file contains DESTDIR, $1" names "$2" "$2"
}

installs "plain" "$PWD/$out/root" /opt/x
installs "with blanks and parentheses" "$PWD/$out/a root (two)" "/opt/my programs (x)"

# Whether a compiler finds the header with the flags that pkg-config prints.
compiles_with_pkg_config() {
    flags=$(PKG_CONFIG_PATH="$1/share/pkgconfig" pkg-config --cflags stomp_ws) || return
    echo '#include "stomp_ws.h"' >$out/one.c
    eval "${CC:-cc} $flags -fsyntax-only $out/one.c"
}
prefix="$PWD/$out/my prefix"
check "make install, to PREFIX alone" install "" "$prefix"
if has pkg-config "stomp_ws.pc below a folder with blanks"; then
    check "pkg-config finds it below a folder with blanks" compiles_with_pkg_config "$prefix"
fi

report
