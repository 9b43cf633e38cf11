#!/bin/sh
# Runs `make demo` and `make test` in a Debian that has only gcc, make and libc6-dev: as root and as an
# ordinary user, in a folder whose name has blanks and parentheses. Then runs `make check-rest` and
# `make install`, and checks that `make demo` fails with advice if the loopback interface is down. This
# is done in Debian 12. Debian 13, whose compiler and make are newer, runs demo and test as a user.
#
#     tests/bare/run.sh      run it as root; needs mmdebstrap and access to Debian's packages
#
# Each Debian is a chroot in build/bare. It is kept, and the next run uses it again.
set -u

cd "$(dirname "$0")/../.." || exit 1

if [ "$(id -u)" -ne 0 ] || ! command -v mmdebstrap >/dev/null; then
    echo "make bare needs root and mmdebstrap (apt-get install mmdebstrap)"
    exit 1
fi

# The script runs itself in a mount namespace of its own. The mounts below end with it.
if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private sh tests/bare/run.sh --inside
fi

. tests/checks.sh
bare=$PWD/build/bare
folder="/home/user/it's my project (2)"

# Makes the chroot of this release, unless it is complete from an earlier run.
make_system() {
    [ -e "$system.complete" ] && return
    for attempt in 1 2 3; do # a mirror may be in the middle of an update
        rm -rf --one-file-system "$system"
        if mmdebstrap --variant=minbase --include=gcc,make,libc6-dev "$release" "$system"; then
            chroot "$system" useradd --create-home user && : >"$system.complete"
            return
        fi
        echo "attempt $attempt failed"
        sleep 20
    done
    return 1
}

mount_system() {
    for folder_of_kernel in dev proc sys; do
        mount --rbind /$folder_of_kernel "$system/$folder_of_kernel" || return
    done
}

# Copies the project into the chroot, without build/ and .git.
copy_project() {
    rm -rf --one-file-system "${system:?}$folder"
    mkdir -p "$system$folder" &&
        tar --exclude=./build --exclude=./.git -c . | tar -x -C "$system$folder" &&
        chroot "$system" chown -R user: "$folder"
}

# inside USER COMMAND...: runs the command as the user in the copied project, with a clean environment.
# shellcheck disable=SC2016 # the inner sh expands its own arguments
inside() {
    who=$1
    shift
    (cd / && chroot "$system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/user \
        setpriv --reuid "$who" --regid "$who" --clear-groups \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$folder" "$@")
}

# passes USER TARGET: `make TARGET` exits with 0. Its output is kept in build/bare/RELEASE.TARGET.USER,
# and its time is added to build/bare/seconds.
passes() {
    log=$system.$2.$1
    began=$(date +%s)
    inside "$1" make "$2" >"$log" 2>&1
    status=$?
    printf '%s, make %s as %s: %s s\n' "$release" "$2" "$1" $(($(date +%s) - began)) >>"$bare/seconds"
    [ $status -eq 0 ] || tail -n 60 "$log"
    return $status
}

# reports MISSING...: the last line of the last output counts no failure, the list before it names each
# missing thing once, and no line is longer than 160 characters, as compiler commands are.
reports() {
    tail -n 1 "$log" | grep -xE '[0-9]+ passed, 0 failed, [0-9]+ skipped' || return
    for missing in "$@"; do
        [ "$(grep -c "^    $missing: " "$log")" = 1 ] && continue
        echo "not named once: $missing"
        return 1
    done
    ! grep '.\{161\}' "$log"
}

# begin RELEASE: makes and enters the chroot. Ends the script if that fails.
begin() {
    release=$1 system=$bare/$1
    check "a minimal Debian is installed, $release" make_system
    check "/dev, /proc and /sys are mounted in it" mount_system
    [ "$checks_failed" -eq 0 ] || { report; exit 1; }
}

# demo_and_test USER
demo_and_test() {
    check "$release: the project is copied for $1" copy_project
    check "$release: make demo as $1" passes "$1" demo
    check "$release: make test as $1" passes "$1" test
    check "$release: the report of make test as $1" reports 'a C++ compiler' python3
}

# shellcheck disable=SC2016 # the inner sh expands its own arguments
demo_without_loopback() {
    unshare --net sh -c 'cd / && exec env -i PATH="$PATH" chroot "$@"' sh "$system" \
        make -C "$folder" demo
}

mkdir -p "$bare"
: >"$bare/seconds"

begin bookworm
demo_and_test root
demo_and_test user
check "make check-rest" passes user check-rest
check "the report of make check-rest" reports clang g++ clang++ pkg-config
check "make install" inside user make install PREFIX="/home/user/my programs (x)"
check "the installed stomp_cat runs" inside user "/home/user/my programs (x)/bin/stomp_cat" --version
refuse "make demo without a loopback interface" "Does the loopback interface work?" demo_without_loopback

begin trixie
demo_and_test user

cat "$bare/seconds"
report
