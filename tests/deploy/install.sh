#!/bin/sh
# Installs the reverse proxies of tests/deploy on a bare Debian 12, as root. A second run has nothing to
# do. tests/interop/install.sh installs the rest.
set -eu

policy=/usr/sbin/policy-rc.d
saved_policy=$policy.before-deploy

missing_packages() {
    for package in apache2 caddy haproxy libbearssl-dev libssl-dev nginx-light; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

restore_policy() {
    rm -f "$policy"
    if [ -e "$saved_policy" ]; then mv "$saved_policy" "$policy"; fi
}

# Debian starts a service as soon as its package is installed. The tests start the proxies themselves,
# on ports of their own, so a policy that forbids it stands for the time of the installation.
forbid_services() {
    if [ -e "$policy" ] && [ ! -e "$saved_policy" ]; then mv "$policy" "$saved_policy"; fi
    trap restore_policy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

packages=$(missing_packages)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, and only root with apt-get could do it: $packages"
    echo "What needs them is skipped."
    exit 0
fi
forbid_services
apt-get update -q
# shellcheck disable=SC2086 # one word a package
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
