#!/usr/bin/env bash
# Makes sure that what the build needs beside Rust is there, then runs the command it is given:
#   scripts/prepare.sh [COMMAND ARGUMENTS...]
# Missing programs are installed by apt-get (Debian, Ubuntu) or brew (macOS), after saying which and what for.
# NEARMISS_NO_INSTALL=1 only prints the command that would install them, and ends with 2.
set -euo pipefail

packages=()
lack() { # what, what for, packages...
    echo "missing: $1 ($2)" >&2
    packages+=("${@:3}")
}
need() { # program, what for, package
    command -v "$1" >/dev/null 2>&1 || lack "$@"
}
# Like clang-sys, which loads it: LIBCLANG_PATH, else the usual folders; the compiler's own headers belong to it.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    local library header
    for library in /usr/lib{,32,64}/libclang{,-[0-9]*}.so* /usr/lib/*-linux-*/libclang{,-[0-9]*}.so* \
        /usr/{lib,lib64,local}/llvm*/lib{,64}/libclang{,-[0-9]*}.so* /usr/local/lib/libclang{,-[0-9]*}.so*; do
        [ -e "$library" ] || continue
        for header in /usr/lib{,64}/clang/*/include/stddef.h /usr/lib{,64}/llvm*/lib{,64}/clang/*/include/stddef.h \
            /usr/local/{,llvm*/}lib/clang/*/include/stddef.h; do
            if [ -e "$header" ]; then return; fi
        done
    done
    return 1
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "missing: cargo, the Rust toolchain; install it with rustup (https://rustup.rs), then run this again" >&2
    exit 2
fi

system=$(uname -s)
if [ "$system" = Darwin ]; then
    if ! xcode-select -p >/dev/null 2>&1; then
        echo "missing: Apple's compilers and libclang; run xcode-select --install, then this again" >&2
        exit 2
    fi
    need cmake "configures llama.cpp" cmake
    need ninja "builds llama.cpp on all cores" ninja
else
    need c++ "compiles llama.cpp and usearch" g++
    need cmake "configures llama.cpp" cmake
    need ninja "builds llama.cpp on all cores" ninja-build
    have_libclang || lack libclang "reads llama.cpp's headers for its Rust bindings" libclang-dev
fi

if [ ${#packages[@]} -gt 0 ]; then
    # Not needed, but with it the release build takes over what the test build has compiled.
    command -v ccache >/dev/null 2>&1 || packages+=(ccache)
    root=()
    if [ "$system" = Darwin ]; then
        installer=brew
        install=(brew install "${packages[@]}")
    else
        installer=apt-get
        install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}")
        if [ "$(id -u)" -ne 0 ]; then root=(sudo); fi
    fi
    if [ "${NEARMISS_NO_INSTALL:-}" = 1 ]; then
        echo "to install it, run: ${root[*]:+${root[*]} }${install[*]}" >&2
        exit 2
    fi
    for program in "$installer" ${root[@]+"${root[@]}"}; do
        if ! command -v "$program" >/dev/null 2>&1; then
            echo "cannot install it: no $program here; use your package manager for: ${packages[*]} (Debian's names)" >&2
            exit 2
        fi
    done
    echo "installing, with NEARMISS_NO_INSTALL=1 only shown: ${root[*]:+${root[*]} }${install[*]}" >&2
    if [ "$installer" = apt-get ]; then
        # A mirror that cannot be reached need not stop the install: lists of packages may be there.
        ${root[@]+"${root[@]}"} apt-get update -qq || echo "apt-get update failed; going on with the lists at hand" >&2
    fi
    ${root[@]+"${root[@]}"} "${install[@]}"
fi

[ $# -gt 0 ] || exit 0
if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null 2>&1; then
    export CMAKE_GENERATOR=Ninja
fi
exec "$@"
