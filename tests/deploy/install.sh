#!/bin/sh
# Installs the reverse proxies of tests/deploy on a bare Debian 12, as root. A second run has nothing to
# do. tests/interop/install.sh installs the rest.
set -eu
# shellcheck source=tests/packages.sh
. "$(dirname "$0")/../packages.sh"

packages=$(missing apache2 caddy haproxy libbearssl-dev libssl-dev nginx-light)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "These packages are not installed; only root with apt-get can install them: $packages"
    echo "Tests that need them are skipped."
    exit 0
fi
# shellcheck disable=SC2086 # one word per package
install_packages $packages
