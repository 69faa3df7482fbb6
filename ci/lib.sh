# Shared by the scripts of this folder: what a fresh machine lacks, and where the program is.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# need PROGRAM PACKAGE: has PROGRAM there, installing PACKAGE where that can be done
need() {
    if command -v "$1" >/dev/null; then return; fi
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        printf 'failed to find %s: install the package %s (as root: apt-get install %s)\n' "$1" "$2" "$2" >&2
        exit 2
    fi
    printf 'installing %s\n' "$2" >&2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$2" >/dev/null 2>&1 ||
        { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$2" >/dev/null; } ||
        { printf 'failed to install %s: see the lines above\n' "$2" >&2; exit 2; }
}

# need_build: what a build of the program needs
need_build() {
    if ! command -v cargo >/dev/null; then
        echo 'failed to find cargo: install Rust 1.91 or newer (https://rustup.rs), then run this again' >&2
        exit 2
    fi
    need cc gcc
    # The program is linked statically, for which the C library's own package is needed beside the compiler.
    if [[ $(cc -print-file-name=libc.a) != /* ]]; then need libc.a libc6-dev; fi
}

# built PROFILE: where cargo leaves the program
built() {
    printf '%s/%s/%s/vfio-conform\n' "${CARGO_TARGET_DIR:-$root/target}" "$(rustc --print host-tuple)" "$1"
}
