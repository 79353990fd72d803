#!/usr/bin/env bash
# A PostgreSQL server for the tests: new, empty, on a free port of 127.0.0.1, with its own password.
# The clusters of the machine are neither used nor touched.
#
#   scripts/postgres.sh start DIR    makes DIR, starts the server in it, prints its postgres:// address
#   scripts/postgres.sh stop DIR     ends that server and removes DIR

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Seconds that the server gets to accept connections.
START_SECONDS=30

# Where Debian keeps the programs of the newest version, or what is in the PATH elsewhere.
find_programs() {
    local directories
    directories=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V) || true
    if [ -n "$directories" ]; then
        tail -n 1 <<<"$directories"
    elif have initdb; then
        dirname "$(command -v initdb)"
    else
        fail "PostgreSQL is not installed" "Run: make setup"
    fi
}

# PostgreSQL refuses to run as root.
as_owner() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

start() {
    local directory=$1 programs password port
    programs=$(find_programs)
    mkdir -p "$directory"
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$directory"
    fi
    password=$(random_hex 16)
    # Through a pipe, the password is neither in the process list nor on the disk; `cat` makes it a pipe of the owner's.
    # A new cluster need not survive a power cut; what the server writes later is synced as always.
    # shellcheck disable=SC2016 # The inner shell expands it.
    printf '%s\n' "$password" | as_owner sh -c 'cat | "$@"' sh "$programs/initdb" --pgdata "$directory/data" \
        --username hullworks --auth scram-sha-256 --pwfile /dev/stdin --encoding UTF8 --locale C --no-sync \
        >"$directory/initdb.log" 2>&1 || {
        show_tail "$directory/initdb.log"
        fail "PostgreSQL could not make a cluster in $directory"
    }
    # Another process may take a port between the look and the use.
    local attempt
    for attempt in 1 2 3 4 5; do
        port=$(next_free_port $((20000 + RANDOM % 10000)))
        if as_owner "$programs/pg_ctl" start --wait --silent --timeout "$START_SECONDS" --pgdata "$directory/data" \
            --log "$directory/data/server.log" \
            --options "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=200" \
            >/dev/null 2>&1; then
            echo "postgres://hullworks:$password@127.0.0.1:$port/postgres"
            return
        fi
    done
    show_tail "$directory/data/server.log"
    fail "PostgreSQL does not come up in $directory after $attempt attempts"
}

stop() {
    local programs
    programs=$(find_programs)
    # Nothing in it is kept, so nothing needs to be waited for.
    as_owner "$programs/pg_ctl" stop --mode immediate --silent --pgdata "$1/data" >/dev/null 2>&1 || true
    rm -rf "$1"
}

case "${1:-} ${2:+DIR}" in
"start DIR") start "$2" ;;
"stop DIR") stop "$2" ;;
*)
    echo "usage: scripts/postgres.sh start|stop DIR" >&2
    exit 2
    ;;
esac
