#!/usr/bin/env bash
# A private PostgreSQL cluster for the demo and the tests.
#
#   postgres.sh start DIR [PORT]   start (first: create) the cluster of DIR; prints its URL
#   postgres.sh stop DIR           stop it; nothing happens when it is not running
#   postgres.sh url DIR            print its URL
#   postgres.sh remove DIR         stop it and delete all that it keeps
#
# It listens on 127.0.0.1 only, on PORT (5433) or the next free one; PORT 0 means any free port. A cluster keeps its
# port over a restart. The role `ingest` (password `ingestpwd`, no superuser) owns the database `openfood`. Root cannot
# run PostgreSQL, so root runs it as `postgres`; where that user cannot reach DIR, the data goes to a folder of
# /var/tmp that DIR/data links to. `fsync` stays on.
set -euo pipefail

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 64
}

[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)

if [ -n "${PG_BINDIR:-}" ]; then
    bin=$PG_BINDIR
elif [ -x /usr/lib/postgresql/15/bin/postgres ]; then
    bin=/usr/lib/postgresql/15/bin
else
    bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -1 || true)
fi
if [ ! -x "$bin/postgres" ]; then
    echo "postgres.sh: no PostgreSQL server found; run scripts/bootstrap.sh, or set PG_BINDIR" >&2
    exit 69
fi

# As the server's user, in a folder that it may enter.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        (cd / && exec "$@")
    fi
}

# Sets `data`: where the cluster is or shall be.
locate() {
    if [ -e "$dir/data" ] || [ -L "$dir/data" ]; then
        data=$(readlink -f "$dir/data")
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        data=$dir/data
        return
    fi
    chmod a+x "$dir"
    if as_server test -x "$dir"; then
        data=$dir/data
    else
        data=/var/tmp/dataflow-postgres.$(printf %s "$dir" | sha256sum | cut -c1-16)
        rm -rf "$data"
        ln -s "$data" "$dir/data"
    fi
}

running() {
    [ -f "$data/postmaster.pid" ] && as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1
}

occupied() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

url() {
    echo "postgresql://ingest:ingestpwd@127.0.0.1:$(cat "$dir/port")/openfood"
}

create() {
    rm -rf "$data"
    mkdir -p "$data"
    chmod 700 "$data"
    [ "$(id -u)" -ne 0 ] || chown postgres: "$data"
    local log
    log=$(mktemp)
    if ! as_server "$bin/initdb" -D "$data" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth=trust >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 69
    fi
    as_server tee -a "$data/postgresql.conf" >/dev/null <<'CONF'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
logging_collector = off
CONF
    # Passwords only; the superuser has none and so cannot log in.
    echo 'host all all 127.0.0.1/32 scram-sha-256' | as_server tee "$data/pg_hba.conf" >/dev/null
    # Single-user mode reads one statement a line and needs no password.
    as_server "$bin/postgres" --single -D "$data" postgres >"$log" 2>&1 <<'SQL'
create role ingest login createdb password 'ingestpwd';
create database openfood owner ingest;
SQL
    if grep -E '(ERROR|FATAL|PANIC):' "$log" >&2; then
        rm -f "$log"
        exit 69
    fi
    rm -f "$log"
    touch "$dir/created"
}

start() {
    local port=${1:-5433}
    locate
    if running; then
        url
        return
    fi
    [ -f "$dir/created" ] && [ -f "$data/PG_VERSION" ] || create
    [ ! -f "$dir/port" ] || port=$(cat "$dir/port")
    local any=0
    [ "$port" -ne 0 ] || any=1
    local attempt
    for attempt in $(seq 1 100); do
        # Below the range from which the kernel takes ports for outgoing connections.
        [ $any -eq 0 ] || port=$((15000 + (RANDOM % 17000)))
        if occupied "$port"; then
            port=$((port + 1))
            continue
        fi
        # The server outlives this script: it must not keep what the caller left open (locks, pipes that tell of our end).
        if as_server "$bin/pg_ctl" start -D "$data" -w -t 60 -s -o "-p $port" -l "$data/server.log" 1>&2 3>&- 9>&-; then
            echo "$port" >"$dir/port"
            url
            return
        fi
        # Another process may have taken the port in between; anything else is an error to show.
        if ! as_server tail -5 "$data/server.log" | grep -q 'could not bind\|could not create any TCP'; then
            as_server tail -20 "$data/server.log" >&2
            exit 69
        fi
        port=$((port + 1))
    done
    echo "postgres.sh: no free port found in $attempt attempts" >&2
    exit 69
}

stop() {
    locate
    if running; then
        as_server "$bin/pg_ctl" stop -D "$data" -m "${1:-fast}" -w -t 60 -s
    fi
}

case $verb in
    start) start "${3:-5433}" ;;
    stop) stop "${3:-fast}" ;;
    url)
        [ -f "$dir/port" ] || { echo "postgres.sh: $dir holds no cluster; start it first" >&2; exit 66; }
        url
        ;;
    remove)
        stop immediate
        rm -rf "$data" "$dir/data" "$dir/port" "$dir/created"
        ;;
    *) usage ;;
esac
