#!/bin/sh
# `make demo` and `make test` where a new user is: a Debian with gcc, make and libc6-dev and nothing
# else, as root and as an ordinary user, in a folder whose name has blanks and parentheses. Then
# `make demo` with the loopback interface down, and `make check` and `make install`.
#
#     tests/bare/run.sh      as root; needs mmdebstrap, and Debian's packages
#
# The Debian is a chroot in build/bare. It is kept, so that a second run starts at once.
set -u

cd "$(dirname "$0")/../.." || exit 1

# What is mounted here is mounted for this script and its children only, and goes away with them.
if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private sh tests/bare/run.sh --inside
fi

. tests/checks.sh
bare=$PWD/build/bare
system=$bare/system
folder="/home/user/my project (2)"

# The chroot is complete when it has its last file, which is the folder of the user.
make_system() {
    [ -d "$system/home/user" ] && return
    rm -rf --one-file-system "$system"
    mmdebstrap --variant=minbase --include=gcc,make,libc6-dev bookworm "$system" &&
        chroot "$system" useradd --create-home user
}

mount_system() {
    for folder_of_kernel in dev proc sys; do
        mount --rbind /$folder_of_kernel "$system/$folder_of_kernel" || return
    done
}

# A fresh copy of this project, without what was built.
copy_project() {
    rm -rf --one-file-system "${system:?}$folder"
    mkdir -p "$system$folder" &&
        tar --exclude=./build --exclude=./.git -c . | tar -x -C "$system$folder" &&
        chroot "$system" chown -R user: "$folder"
}

# shellcheck disable=SC2016 # the inner sh expands its arguments
# inside USER COMMAND...: in the copy of the project, with nothing of this machine's environment.
inside() {
    who=$1
    shift
    (cd / && chroot "$system" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/user \
        setpriv --reuid "$who" --regid "$who" --clear-groups \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$folder" "$@")
}

# The output in FILE ends with counts, of which no check failed, and each thing that this Debian
# lacks is named once. No line is as long as a compiler's.
is_good_report() {
    tail -n 1 "$1" | grep -xE '[0-9]+ passed, 0 failed, [0-9]+ skipped' || return
    for missing in 'a C++ compiler' python3; do
        [ "$(grep -c "^    $missing: " "$1")" = 1 ] || { echo "not named once: $missing"; return 1; }
    done
    ! grep '.\{161\}' "$1"
}

# passes USER TARGET: `make TARGET` ends with 0; its output is left in $bare/TARGET.USER.
passes() {
    began=$(date +%s)
    inside "$1" make "$2" >"$bare/$2.$1" 2>&1
    status=$?
    printf 'make %s as %s: %s s, %s\n' "$2" "$1" $(($(date +%s) - began)) \
        "$(tail -n 1 "$bare/$2.$1")" >>"$bare/seconds"
    [ $status -eq 0 ] || tail -n 60 "$bare/$2.$1"
    return $status
}

mkdir -p "$bare"
: >"$bare/seconds"
check "a bare Debian is made" make_system
check "/dev, /proc and /sys are there" mount_system
for user in root user; do
    check "the project is copied for $user" copy_project
    check "make demo as $user" passes $user demo
    check "make test as $user" passes $user test
    check "the report of make test as $user" is_good_report "$bare/test.$user"
done
check "make check-rest as user" passes user check-rest
check "the report of make check-rest" is_good_report "$bare/check-rest.user"
check "make install as user" inside user make install PREFIX="/home/user/my programs (x)"
check "stomp_cat is installed" inside user "/home/user/my programs (x)/bin/stomp_cat" --version
refuse "make demo without a loopback interface" "Is the loopback interface up?" \
    unshare --net sh -c "$(command -v chroot) '$system' make -C '$folder' demo"
cat "$bare/seconds"
report
