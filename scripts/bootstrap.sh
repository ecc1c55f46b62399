#!/usr/bin/env bash
# Installs the Debian packages that dataflow needs and that are missing, and those that are named. Silent and without
# network when none is.
set -euo pipefail

packages=(
    g++ libstdc++-12-dev pkg-config graphviz zlib1g-dev libyaml-dev libpq-dev libsqlite3-dev libcurl4-openssl-dev
    libsimdjson-dev libre2-dev libprotobuf-dev libprotoc-dev librdkafka-dev kcat postgresql-15
)
packages+=("$@")

installed() {
    dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

if ! command -v dpkg-query >/dev/null; then
    echo "bootstrap: this is not a Debian system; install by hand: ${packages[*]}" >&2
    exit 69
fi

# One query for all: the loop below runs only when this one finds something missing.
missing=()
if [ "$(dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed)" \
    -lt "${#packages[@]}" ]; then
    for package in "${packages[@]}"; do
        case $package in
            # The Swift toolchain's image brings a C++ compiler and library of another version or name.
            g++) command -v g++ >/dev/null || command -v clang++ >/dev/null || missing+=("$package") ;;
            libstdc++-12-dev) compgen -G '/usr/include/c++/*/vector' >/dev/null || missing+=("$package") ;;
            # Later Debian releases carry a later server under the plain name.
            postgresql-15) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=("$package") ;;
            *) installed "$package" || missing+=("$package") ;;
        esac
    done
fi

if [ ${#missing[@]} -gt 0 ]; then
    echo "bootstrap: installing ${missing[*]}" >&2
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "bootstrap: neither root nor sudo; run as root: apt-get install ${missing[*]}" >&2
            exit 69
        fi
        as_root=(sudo)
    fi
    apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq "$@"
    }
    # The package starts a cluster of its own unless told otherwise; dataflow uses private ones.
    if [[ " ${missing[*]} " == *" postgresql-15 "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        "${as_root[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    apt update
    if [[ " ${missing[*]} " == *" postgresql-15 "* ]] && ! apt-cache show postgresql-15 >/dev/null 2>&1; then
        missing=("${missing[@]/postgresql-15/postgresql}")
    fi
    apt install --yes --no-install-recommends "${missing[@]}" >&2
fi

if ! command -v swift >/dev/null; then
    echo "bootstrap: no swift in PATH; install Swift 6.2 or later from https://www.swift.org/install/linux/" >&2
    exit 69
fi
