#!/bin/sh
# Installs what the test of the web page needs on a bare Debian 12: Chromium, Node.js with npm, and
# what drives the one from the other in build/web/driver; for the Spring application a JDK, Maven
# and Python. Run it as root; a second run has nothing to do.
set -eu

cd "$(dirname "$0")/../.."
. tests/web/npm.sh
. tests/packages.sh

# Node.js may have come from elsewhere, so it is asked for by its commands.
missing_packages() {
    missing ca-certificates chromium maven openjdk-17-jdk-headless openssl python3
    command -v node >/dev/null || printf 'nodejs '
    command -v npm >/dev/null || printf 'npm '
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # one word a package
    install_packages $packages
fi

npm_packages tests/web build/web/driver
sh tests/web/build.sh
