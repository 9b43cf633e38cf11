#!/bin/sh
# Installs the proxies of tests/proxy on a bare Debian 12, as root. A second run has nothing to do.
# Neither package contains a service that Debian would start.
set -eu
# shellcheck source=tests/packages.sh
. "$(dirname "$0")/../packages.sh"

command -v tinyproxy >/dev/null && command -v microsocks >/dev/null && exit
install_packages tinyproxy-bin microsocks
