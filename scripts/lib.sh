# shellcheck shell=bash
# What every script here shares: output, rights, ports, waiting, and processes that outlive the script.
# It is sourced, never run, and starts nothing by itself.

set -euo pipefail

# The directory of the repository, whatever the caller's working directory is.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# An ordinary user's PATH lacks the directories of dockerd and runuser.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# A login shell would have read Rust's own settings; make's shell has not.
if [ -d "${HOME:-}/.cargo/bin" ]; then
    PATH="$PATH:$HOME/.cargo/bin"
fi
export ROOT PATH

# Colours only where a person looks.
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi
export BOLD DIM RED GREEN PLAIN

STEP=0

# step TEXT: the next numbered heading.
step() {
    STEP=$((STEP + 1))
    printf '\n%s%d. %s%s\n' "$BOLD" "$STEP" "$1" "$PLAIN"
}

# note TEXT: one line below a heading.
note() {
    printf '   %s\n' "$1"
}

# fail WHAT [REMEDY...]: says on stderr what happened and what to do about it, and ends the script.
fail() {
    printf '\n%sfailed:%s %s\n' "$RED$BOLD" "$PLAIN" "$1" >&2
    shift
    local remedy
    for remedy in "$@"; do
        printf '        %s\n' "$remedy" >&2
    done
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# as_root COMMAND...: runs it as root; by sudo for an ordinary user, without a prompt where nobody could answer it.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! have sudo; then
        fail "this needs root: $*" "Run it as root, or install sudo and allow it for $(id -un)."
    elif [ -t 0 ]; then
        sudo -- "$@"
    else
        sudo -n -- "$@"
    fi
}

# wait_until SECONDS COMMAND...: repeats a quiet command until it succeeds; returns 1 when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# port_is_taken PORT: whether something listens on that port of 127.0.0.1.
port_is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# next_free_port FIRST: prints the first port from FIRST on that nobody listens on.
next_free_port() {
    local port
    for ((port = $1; port < $1 + 100; port++)); do
        if ! port_is_taken "$port"; then
            echo "$port"
            return
        fi
    done
    fail "the ports $1 to $((port - 1)) of 127.0.0.1 are all taken" "End something that listens on one of them."
}

# random_hex BYTES: prints that many random bytes in hexadecimal.
random_hex() {
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# start_of PID: when that process was started, in ticks since the machine was; with it a number that the system has
# given to another process since is not mistaken for ours.
start_of() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# write_pid FILE PID: notes a process that was just started.
write_pid() {
    echo "$2 $(start_of "$2")" >"$1"
}

# pid_in FILE: prints the process id in a pid file if that process is alive; otherwise returns 1.
pid_in() {
    local pid start
    read -r pid start 2>/dev/null <"$1" || return 1
    if gone "$pid" || [ "$(start_of "$pid")" != "$start" ]; then
        return 1
    fi
    echo "$pid"
}

# in_background PID_FILE LOG COMMAND...: starts a process in a session of its own, so that neither the end of this
# script nor Ctrl-C ends it.
in_background() {
    local pid_file=$1 log=$2
    shift 2
    setsid "$@" >"$log" 2>&1 </dev/null &
    write_pid "$pid_file" $!
}

# end_process PID_FILE [SECONDS]: SIGTERM, and SIGKILL when the process is still there after that time (default 30).
end_process() {
    local pid
    if pid=$(pid_in "$1" 2>/dev/null); then
        signal TERM "$pid"
        if ! wait_until "${2:-30}" gone "$pid"; then
            signal KILL "$pid"
            wait_until 5 gone "$pid" || true
        fi
    fi
    rm -f "$1"
}

# signal NAME PID: as root where the process is not ours.
signal() {
    kill -s "$1" "$2" 2>/dev/null || as_root kill -s "$1" "$2" 2>/dev/null || true
}

# A zombie is gone too: it only waits for a parent that does not look.
gone() {
    ! [ -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# show_tail FILE: the end of a log, indented, on stderr.
show_tail() {
    [ -s "$1" ] || return 0
    printf '%s   the end of %s:%s\n' "$DIM" "$1" "$PLAIN" >&2
    tail -n 20 "$1" | sed 's/^/     /' >&2
}
