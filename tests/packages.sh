# Functions that install Debian packages. The install.sh scripts of the tests source this file.
# shellcheck shell=sh

# is_installed NAME: succeeds if this Debian package is installed.
is_installed() {
    case $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) in
        installed) ;;
        *) return 1 ;;
    esac
}

# missing NAME...: prints the names of the packages that are not installed.
missing() {
    for package in "$@"; do is_installed "$package" || printf '%s ' "$package"; done
}

# install_packages NAME...: installs packages, which only root can do. Debian starts a service when
# its package is installed. The tests start their servers themselves, on other ports, so a policy
# file forbids services during the installation. The function runs in a subshell, so its traps do
# not replace the caller's traps.
install_packages() (
    policy=/usr/sbin/policy-rc.d
    saved_policy=$policy.before-tests
    if [ -e "$policy" ] && [ ! -e "$saved_policy" ]; then mv "$policy" "$saved_policy"; fi
    trap 'rm -f "$policy"; if [ -e "$saved_policy" ]; then mv "$saved_policy" "$policy"; fi' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
)
