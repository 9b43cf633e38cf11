#!/bin/sh
# A release is a tag on the repository, and the header is released unchanged. This script checks
# that all files name the same version. With `tag` it also checks that the tree is clean and that
# the tag is new.
#
#     tests/release.sh          check the version
#     tests/release.sh tag      check that this version can be tagged now, and print the commands
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh

# macro NAME: prints the value of the header's macro STOMP_WS_NAME, without quotes.
macro() {
    sed -n "s/^#define STOMP_WS_$1 \"*\([0-9.]*\)\"*$/\1/p" stomp_ws.h
}
version=$(macro VERSION)
packaging=tests/packaging

is_semantic() {
    echo "$version" | grep -xE '(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}'
}
# named FILE LINE: succeeds if the file contains this text.
named() {
    grep -qF -e "$2" "$1" || { echo "$1 does not contain: $2"; return 1; }
}
history_begins_with() {
    sed -n '/^## History$/{n;p;}' stomp_ws.h | grep -E "^- $version: .+"
}
check "STOMP_WS_VERSION is MAJOR.MINOR.PATCH" is_semantic
check "its three parts are defined, too" test "$version" = \
    "$(macro VERSION_MAJOR).$(macro VERSION_MINOR).$(macro VERSION_PATCH)"
check "the header's first line has the version" \
    sh -c "head -n 1 stomp_ws.h | grep -F 'stomp_ws.h - v$version - '"
check "the History begins with the version" history_begins_with
check "clib" named $packaging/clib.json "\"version\": \"$version\""
check "vcpkg" named $packaging/vcpkg/stomp-ws/vcpkg.json "\"version-semver\": \"$version\""
check "meson" named $packaging/users/meson/subprojects/packagefiles/stomp_ws/meson.build \
    "version: '$version'"
check "meson's wrap" named $packaging/users/meson/subprojects/stomp_ws.wrap "revision = v$version"
check "FetchContent" named $packaging/users/fetch_content/CMakeLists.txt "GIT_TAG v$version"
# tags: those that are mentioned in $packaging/README.md and README.md.
tags() {
    grep -hoE '(@|GIT_TAG )v[0-9.]+' README.md $packaging/README.md
}
no_other_tag() {
    ! tags | grep -v "v$version\$"
}
check "tags are mentioned" tags
check "each of them is this version's" no_other_tag

if [ "${1:-}" = tag ]; then
    check_silent "there is no uncommitted change" git status --porcelain
    check "the tag v$version is new" sh -c "! git rev-parse -q --verify refs/tags/v$version"
    [ "$checks_failed" -ne 0 ] ||
        printf '%s\n' "git tag -a v$version -m 'stomp_ws.h $version'" "git push origin v$version"
fi
report
