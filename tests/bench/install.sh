#!/bin/sh
# Installs and builds the other clients of the benchmark, on a bare Debian 12 and as root. The
# programs go to build/bench, the Python packages to build/venv-bench, stomp.js to build/npm. Each
# client is one check: if a client cannot be installed, the check fails and the others are still
# installed. Go and Rust are not installed here, because Debian's versions are older than what these
# clients need.
#
#     tests/bench/install.sh [--quick|--micro]
#
# --quick builds only with what is already installed. --micro installs only what `make bench-micro`
# needs.
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
. tests/packages.sh
peers=tests/bench/peers
out=build/bench
mkdir -p $out
PATH=$PATH:$HOME/.cargo/bin:/usr/local/go/bin

debian() {
    absent=$(missing "$@")
    # shellcheck disable=SC2086 # one word per package
    [ -z "$absent" ] || install_packages $absent
}

# requirements.txt is copied last. The copy means that all its packages are installed.
python_packages() {
    venv=build/venv-bench
    cmp -s tests/bench/requirements.txt $venv/requirements.txt && return
    debian python3-venv && python3 -m venv --clear $venv &&
        $venv/bin/pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt &&
        cp tests/bench/requirements.txt $venv/requirements.txt
}

# Packages that others have installed in build/npm are kept.
npm_packages() {
    mkdir -p build/npm
    for package in @stomp/stompjs@7.5.0 ws@8.23.0; do
        name=${package%@*}
        grep -qs "\"version\": \"${package##*@}\"" "build/npm/node_modules/$name/package.json" ||
            npm install --prefix build/npm --no-audit --no-fund --loglevel=error --save-exact \
                "$package" || return
    done
}

c_peer() {
    ${CC:-cc} -std=gnu99 -O2 -Wall -Wextra -Wshadow -Werror -o "$out/$1" "$peers/$1.c" "-l$2"
}

beast() {
    ${CXX:-c++} -std=c++17 -O2 -Wall -Wextra -o $out/beast $peers/beast.cpp -pthread
}

gorilla() {
    (cd $peers/gorilla && go build -o ../../../../$out/gorilla .)
}

micro() {
    cargo build --quiet --release --locked --manifest-path $peers/micro/Cargo.toml \
        --target-dir $out/cargo && cp $out/cargo/release/micro $out/micro
}

tungstenite() {
    cargo build --quiet --release --locked --manifest-path $peers/tungstenite/Cargo.toml \
        --target-dir $out/cargo && cp $out/cargo/release/tungstenite $out/tungstenite
}

spring() {
    mvn -q -B -f $peers/spring/pom.xml package && cp $out/spring/spring.jar $out/spring.jar
}

if [ "${1:-}" = --micro ]; then
    check "the Python packages" python_packages
    check "the JavaScript packages" npm_packages
    check "a JDK and Maven" debian openjdk-17-jdk-headless maven
    check "stomp-parser and simdutf8, without a socket" micro
    check "go-stomp" gorilla
    check "Spring" spring
    report
    exit
fi
if [ "${1:-}" != --quick ]; then
    check "a C and a C++ compiler, make" debian gcc g++ libc6-dev make binutils
    check "tools for profiles" debian valgrind strace gdb
    check "gcc for thumb2" debian gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
    check "wslay" debian libwslay-dev
    check "Boost" debian libboost-dev
    check "libwebsockets" debian libwebsockets-dev
    check "a JDK and Maven" debian openjdk-17-jdk-headless maven
    check "the Python packages" python_packages
    check "the JavaScript packages" npm_packages
fi
check "wslay's client" c_peer wslay wslay
check "Beast's client" beast
check "libwebsockets' client" c_peer lws websockets
check "tungstenite's client" tungstenite
check "stomp-parser and simdutf8, without a socket" micro
check "gorilla's client" gorilla
check "Spring's client" spring
report
