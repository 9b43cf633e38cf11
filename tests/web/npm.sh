# shellcheck shell=sh
# Source this file. npm_packages FROM TO: installs the packages that FROM/package.json names, in
# exactly those versions, into TO/node_modules, unless they are installed already.
npm_packages() {
    # package.json is copied last. The copy means that all its packages are installed.
    cmp -s "$1/package.json" "$2/installed.json" && return
    command -v npm >/dev/null || {
        echo "npm is not installed; as root: sh tests/web/install.sh" >&2
        return 1
    }
    rm -rf "$2"
    mkdir -p "$2"
    cp "$1/package.json" "$2"
    npm install --prefix "$2" --silent --no-package-lock --ignore-scripts --no-audit --no-fund &&
        cp "$1/package.json" "$2/installed.json"
}
