#!/bin/sh
# Installs what the soak test needs in addition to tests/interop/install.sh, on a bare Debian 12 and
# as root: a Go compiler, for the proxy. A second run has nothing to do.
set -eu
# shellcheck source=tests/packages.sh
. "$(dirname "$0")/../packages.sh"

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null && exit 0
install_packages golang-go
