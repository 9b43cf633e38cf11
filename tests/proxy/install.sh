#!/bin/sh
# Installs the proxies of tests/proxy on a bare Debian 12, as root; a second run has nothing to do.
# Neither package has a service that Debian would start.
set -eu

command -v tinyproxy >/dev/null && command -v microsocks >/dev/null && exit
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    tinyproxy-bin microsocks
