#!/bin/sh
# Tests each way to use stomp_ws.h in a program, from its installation to the run of the program.
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
root=$PWD
here=$root/tests/packaging
out=$root/build/packaging
rm -rf "$out/tried"
mkdir -p "$out/tried"
version=$(sed -n 's/^.define STOMP_WS_VERSION "\(.*\)"/\1/p' stomp_ws.h)

for tool in cc make cmake ninja meson pkg-config git python3; do
    check "$tool is installed" command -v $tool
done

runs() {
    "$1" | grep -x "stomp_ws $version works"
}

# user NAME: copies that user's project to another folder, so that it cannot find the header by
# accident.
user() {
    cp -r "$here/users" "$out/tried/$1"
    cd "$out/tried/$1/$1" || exit
    cp ../program.c .
}

# ---- installed ----

check "make install" env MAKEFLAGS= make -s install DESTDIR="$out/tried/stage" PREFIX=/usr/local
prefix=$out/tried/stage/usr/local

# staged COMMAND...: runs a command for which pkg-config finds the files that are installed in the
# stage.
staged() {
    PKG_CONFIG_PATH=$prefix/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$out/tried/stage "$@"
}

by_pkg_config() (
    user pkg-config
    [ "$(staged pkg-config --modversion stomp_ws)" = "$version" ] && staged make && runs ./program
)
by_find_package() (
    user find_package
    cmake -B build -DCMAKE_PREFIX_PATH="$prefix" && cmake --build build && runs build/program
)
too_new() (
    user find_package
    sed -i 's/stomp_ws 0.1/stomp_ws 0.2/' CMakeLists.txt
    cmake -B build -DCMAKE_PREFIX_PATH="$prefix"
)
by_meson() (
    user meson
    rm -r subprojects
    staged meson setup build && ninja -C build && runs build/program
)
check "pkg-config" by_pkg_config
check "CMake's find_package" by_find_package
rm -rf "$out/tried/find_package"
refuse "find_package refuses 0.1 if 0.2 is required" "requested version \"0.2\"" too_new
check "meson, by pkg-config" by_meson
rm -rf "$out/tried/meson"

# ---- from a repository: it contains this tree, and a tag for its version ----

make_origin() (
    mkdir -p "$out/tried/origin/tests" && cd "$out/tried/origin" &&
        cp -r "$root/stomp_ws.h" "$root/LICENSE" . && cp -r "$here" tests/packaging &&
        git init -q && git add . &&
        git -c user.name=test -c user.email=test@example.invalid commit -qm "A release" &&
        git tag "v$version"
)
check "a repository for the test" make_origin

by_add_subdirectory() (
    user add_subdirectory
    mkdir third_party && cp -r "$out/tried/origin" third_party/stomp_ws
    cmake -G Ninja -B build && cmake --build build && runs build/program
)
by_fetch_content() (
    user fetch_content
    cmake -B build -DSTOMP_WS_REPOSITORY="file://$out/tried/origin" && cmake --build build &&
        runs build/program
)
by_wrap() (
    user meson
    sed -i "s|@STOMP_WS_REPOSITORY@|file://$out/tried/origin|" subprojects/stomp_ws.wrap
    meson setup --wrap-mode=forcefallback build && ninja -C build && runs build/program
)
check "CMake's add_subdirectory" by_add_subdirectory
check "CMake's FetchContent" by_fetch_content
check "meson's wrap" by_wrap

# ---- recipes ----

venv=$out/venv
install_conan() {
    cmp -s "$here/requirements.txt" "$venv/requirements.txt" && return
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r "$here/requirements.txt" &&
        cp "$here/requirements.txt" "$venv"
}
by_conan() (
    export CONAN_HOME="$out/tried/conan"
    cp -r "$out/tried/origin" "$out/tried/recipe" && cd "$out/tried/recipe" || exit
    "$venv/bin/conan" profile detect &&
        "$venv/bin/conan" create tests/packaging/conan >"$out/conan.log" 2>&1 &&
        grep "stomp_ws $version works" "$out/conan.log" && return
    tail -n 40 "$out/conan.log"
    return 1
)
check "conan comes from PyPI" install_conan
check "conan create" by_conan

# clib looks for clib.json in the root of a repository. A fork or mirror that serves clib puts the
# file there. The files that it names are installed in deps/NAME.
by_clib() (
    mkdir "$out/tried/clib" && cd "$out/tried/clib" || exit
    python3 - "$root" "$version" <<'END' &&
import json, pathlib, shutil, sys
root, version = pathlib.Path(sys.argv[1]), sys.argv[2]
recipe = json.loads((root / "tests/packaging/clib.json").read_text())
assert recipe["version"] == version, recipe["version"]
folder = pathlib.Path("deps") / recipe["name"]
folder.mkdir(parents=True)
for name in recipe["src"]:
    shutil.copy(root / name, folder / pathlib.Path(name).name)
END
        cc -Ideps/stomp_ws "$here/users/program.c" -o program -pthread && runs ./program
)
check "the files that clib.json names" by_clib

# vcpkg's port is a CMake script. It runs here with a replacement for the one vcpkg function that it
# calls. If VCPKG (the real tool) and VCPKG_ROOT (its scripts) are set, the real tool installs the
# port.
port=$here/vcpkg/stomp-ws
port_by_cmake() {
    cat >"$out/tried/port.cmake" <<'END'
function(vcpkg_install_copyright label file)
    configure_file("${file}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright" COPYONLY)
endfunction()
include("${PORTFILE}")
END
    cmake -DPORT=stomp-ws -DPORTFILE="$port/portfile.cmake" -DCURRENT_PACKAGES_DIR="$1" \
        -P "$out/tried/port.cmake"
}
port_by_vcpkg() {
    "$VCPKG" install stomp-ws --classic --overlay-ports="$here/vcpkg" --x-install-root="$1"
}
by_vcpkg() (
    user find_package
    if [ -n "${VCPKG:-}" ]; then
        port_by_vcpkg "$out/tried/vcpkg" &&
            cmake -B build -DVCPKG_INSTALLED_DIR="$out/tried/vcpkg" -DVCPKG_MANIFEST_MODE=OFF \
                -DCMAKE_TOOLCHAIN_FILE="$VCPKG_ROOT/scripts/buildsystems/vcpkg.cmake"
    else
        port_by_cmake "$out/tried/vcpkg" && test -s "$out/tried/vcpkg/share/stomp-ws/copyright" &&
            cmake -B build -DCMAKE_PREFIX_PATH="$out/tried/vcpkg"
    fi && cmake --build build && runs build/program
)
rm -rf "$out/tried/find_package"
check "${VCPKG:-the port of vcpkg, by CMake}" by_vcpkg

report
