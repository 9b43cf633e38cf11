# shellcheck shell=sh
# Sourced. npm_packages FROM TO: installs what FROM/package.json names, in exactly those versions,
# into TO/node_modules, unless it is there already.
npm_packages() {
    # The copy of package.json is made last: it says that all of it is installed.
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
