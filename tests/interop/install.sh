#!/bin/sh
# Installs what the interop tests need on a bare Debian 12: a C compiler, BearSSL, a JDK, Maven,
# RabbitMQ, node and npm, and curl to publish messages. For the tests of stomp_cat: zsh and two
# readers of man pages. Python packages from requirements.txt go to build/venv, and the JavaScript
# client to build/npm. Run it as root. A second run has nothing to do.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$here/../.." && pwd)/build
venv=$build/venv
npm=$build/npm
# shellcheck source=tests/packages.sh
. "$here/../packages.sh"

missing_packages() {
    missing ca-certificates curl gcc groff-base libbearssl-dev libc6-dev mandoc maven \
        openjdk-17-jdk-headless openssl python3 python3-venv rabbitmq-server zsh
    # Any node is good enough. A node that is not Debian's package brings its own npm.
    command -v node >/dev/null || printf 'nodejs '
    command -v npm >/dev/null || printf 'npm '
}

# has_npm_package PACKAGE VERSION: succeeds if build/npm contains this version of the package.
has_npm_package() {
    grep -q "\"version\": \"$2\"" "$npm/node_modules/$1/package.json" 2>/dev/null
}

# Packages that others have installed in build/npm are kept.
install_npm_package() {
    has_npm_package "$1" "$2" && return
    mkdir -p "$npm"
    npm install --prefix "$npm" --no-audit --no-fund --loglevel=error --save-exact "$1@$2"
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # one word per package
    install_packages $packages
fi

# requirements.txt is copied last. The copy means that all its packages are installed.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

install_npm_package @stomp/stompjs 7.5.0
install_npm_package ws 8.23.0
