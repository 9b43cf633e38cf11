#!/bin/sh
# Installs what the test of the web page needs on a bare Debian 12: Chromium, Node.js with npm, and
# in build/web/driver the packages by which Node.js controls Chromium. For the Spring application: a
# JDK, Maven and Python. Run it as root. A second run has nothing to do.
set -eu

cd "$(dirname "$0")/../.."
. tests/web/npm.sh
. tests/packages.sh

# Node.js may not be Debian's package, so its commands are looked for.
missing_packages() {
    missing ca-certificates chromium maven openjdk-17-jdk-headless openssl python3
    command -v node >/dev/null || printf 'nodejs '
    command -v npm >/dev/null || printf 'npm '
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # one word per package
    install_packages $packages
fi

npm_packages tests/web build/web/driver
sh tests/web/build.sh
