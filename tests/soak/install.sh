#!/bin/sh
# Installs what the soak test needs besides what tests/interop/install.sh does, on a bare Debian 12
# and as root: a Go compiler, for the proxy. A second run has nothing to do.
set -eu

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null && exit 0
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends golang-go
