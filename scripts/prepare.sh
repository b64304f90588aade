#!/usr/bin/env bash
# Makes sure that what the build needs is there: a C and C++ compiler, cmake, ninja and libclang (for llama.cpp and
# its bindings) and ccache (so that a second build is quick). Installs what is missing, after saying what and why.
# NEARMISS_NO_INSTALL=1 only prints the command.
set -euo pipefail

missing=()
need() { # program, package, what for
    command -v "$1" >/dev/null 2>&1 && return
    missing+=("$2")
    echo "missing: $1 ($3)" >&2
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "missing: cargo, the Rust toolchain; install it with rustup (https://rustup.rs), then run this again" >&2
    exit 2
fi

case "$(uname -s)" in
Darwin)
    need c++ "" "compiles llama.cpp and usearch; run: xcode-select --install"
    command -v c++ >/dev/null 2>&1 || exit 2
    need cmake cmake "configures llama.cpp"
    need ninja ninja "builds llama.cpp in parallel"
    need ccache ccache "makes a second build of llama.cpp quick"
    install=(brew install)
    ;;
*)
    need c++ g++ "compiles llama.cpp and usearch"
    need cmake cmake "configures llama.cpp"
    need ninja ninja-build "builds llama.cpp in parallel"
    need ccache ccache "makes a second build of llama.cpp quick"
    if ! ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1; then
        missing+=(libclang-dev clang)
        echo "missing: libclang (reads llama.cpp's headers for its Rust bindings)" >&2
    fi
    install=(apt-get install -y --no-install-recommends)
    if [ "$(id -u)" -ne 0 ]; then install=(sudo "${install[@]}"); fi
    ;;
esac

[ ${#missing[@]} -eq 0 ] && exit 0

if [ "${NEARMISS_NO_INSTALL:-}" = 1 ]; then
    echo "to install it, run: ${install[*]} ${missing[*]}" >&2
    exit 2
fi
if ! command -v "${install[0]}" >/dev/null 2>&1; then
    echo "cannot install by itself: ${install[0]} is not here; install with your package manager: ${missing[*]}" >&2
    exit 2
fi
echo "installing: ${install[*]} ${missing[*]}" >&2
case "${install[*]}" in
*apt-get*) "${install[@]:0:${#install[@]}-4}" apt-get update -qq ;;
esac
"${install[@]}" "${missing[@]}"
