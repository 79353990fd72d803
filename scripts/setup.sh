#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine ready to build, test and show Hullworks. What is there already is left alone, so it
# can run any number of times. The arguments are done one after the other:
#
#   packages       installs what is missing by apt-get
#   rust           checks the Rust toolchain
#   nextest        installs cargo-nextest
#   axe            fetches axe-core, which the browser tests hold pages against, into target/
#   oidc           installs the OpenID Connect provider that the tests sign in through, into target/
#   engine         starts a Docker Engine if none answers, and gives this user access to it
#   engine-stop    ends the engine that `engine` started; any other is left alone

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The version that the configuration in .config/nextest.toml was written for.
NEXTEST_VERSION=0.9.143
# The version that tests/support/browser/checks.rs looks for, and the integrity that npm's registry states of it.
AXE_VERSION=4.14.1
AXE_SHA512=FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
# Seconds that an engine gets to come up; a first start on a slow disk takes about ten.
ENGINE_SECONDS=60
# Beside the sources, but not in target/, so that `cargo clean` does not lose a running engine.
ENGINE_STATE=${ENGINE_STATE:-$ROOT/demo/engine}

# Command, and the package that brings it.
PACKAGES='
    git              git
    curl             curl
    jq               jq
    openssl          openssl
    cc               gcc
    docker           docker.io
    docker-registry  docker-registry
    busybox          busybox-static
    htpasswd         apache2-utils
    skopeo           skopeo
    shellcheck       shellcheck
    chromium         chromium
    chromedriver     chromium-driver
    node             nodejs
    npm              npm
    aiosmtpd         python3-aiosmtpd
'

missing_packages() {
    local command package
    while read -r command package; do
        if [ -n "$command" ] && ! have "$command"; then
            echo "$package"
        fi
    done <<<"$PACKAGES"
    # A compiler without the C library's headers is of no use.
    [ -e /usr/include/stdlib.h ] || echo libc6-dev
    [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    # A client may be there without an engine, and an engine elsewhere.
    if have docker && ! have dockerd && ! engine_answers; then
        echo docker.io
    fi
    # Only for an ordinary user's access to the engine.
    [ "$(id -u)" = 0 ] || have setfacl || echo acl
    # Only a static busybox can be an image by itself; `ldd` refuses to look at one.
    if have busybox && ldd "$(command -v busybox)" >/dev/null 2>&1; then
        echo busybox-static
    fi
    # initdb and postgres are not in the PATH on Debian.
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb || echo postgresql
}

setup_packages() {
    local missing
    missing=$(missing_packages | sort -u)
    [ -n "$missing" ] || return 0
    have apt-get || fail "missing on this machine: ${missing//$'\n'/ }" \
        "They are Debian's package names; install what corresponds to them and run this again."
    note "installing ${missing//$'\n'/ }"
    local log
    log=$(mktemp)
    if ! install_packages "$missing" >"$log" 2>&1; then
        show_tail "$log"
        fail "apt-get could not install ${missing//$'\n'/ }" "The whole output is in $log."
    fi
    rm -f "$log"
}

# install_packages NAMES: without questions, and without starting the services that come with them.
install_packages() {
    local names
    as_root apt-get update
    # Where the command line is a package of its own (Debian 13 and later), the engine does not bring it.
    if grep -qx docker.io <<<"$1" && apt-cache show docker-cli >/dev/null 2>&1; then
        set -- "$1"$'\ndocker-cli'
    fi
    mapfile -t names <<<"$1"
    # Exit status 101 of this file is Debian's way to say that no service may be started now.
    local policy=/usr/sbin/policy-rc.d policy_is_ours=no
    if ! [ -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        policy_is_ours=yes
    fi
    local result=0
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get install -y --no-install-recommends "${names[@]}" </dev/null || result=$?
    if [ "$policy_is_ours" = yes ]; then
        as_root rm -f "$policy"
    fi
    # The demo and the tests run their own; a machine should not get two more servers at its next start.
    local name
    for name in docker-registry postgresql; do
        if have systemctl && grep -qx "$name" <<<"$1"; then
            as_root systemctl disable "$name" || true
        fi
    done
    return "$result"
}

setup_rust() {
    local install="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    have cargo || fail "Rust is not installed" "Install it, then run this again:" "  $install" "  . ~/.cargo/env"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    found=$(cd "$ROOT" && cargo --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        fail "Rust $wanted is needed, this is $found" "Update it: rustup update stable"
    fi
    cargo fmt --version >/dev/null 2>&1 || fail "rustfmt is missing" "Install it: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || fail "clippy is missing" "Install it: rustup component add clippy"
}

setup_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return
    note "installing cargo-nextest $NEXTEST_VERSION (some minutes, once)"
    cargo install cargo-nextest --version "$NEXTEST_VERSION" --locked --quiet ||
        fail "cargo-nextest could not be installed" "See https://nexte.st for other ways to get it."
}

setup_axe() {
    local directory=$ROOT/target/axe-core-$AXE_VERSION archive
    [ -e "$directory/axe.min.js" ] && return
    note "fetching axe-core $AXE_VERSION"
    mkdir -p "$ROOT/target"
    archive=$(mktemp "$ROOT/target/axe-core.XXXXXX")
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --output "$archive" \
        "https://registry.npmjs.org/axe-core/-/axe-core-$AXE_VERSION.tgz" || {
        rm -f "$archive"
        fail "axe-core could not be fetched from registry.npmjs.org" "It is needed for the browser tests alone."
    }
    if [ "$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)" != "$AXE_SHA512" ]; then
        rm -f "$archive"
        fail "what came as axe-core $AXE_VERSION is not what was published" "Run this again; something on the way changed it."
    fi
    mkdir -p "$directory"
    # By its last name at last, so that a broken run leaves nothing that looks complete.
    tar --extract --gzip --file "$archive" --to-stdout package/axe.min.js >"$directory/axe.part"
    mv "$directory/axe.part" "$directory/axe.min.js"
    rm -f "$archive"
}

setup_oidc() {
    local from=$ROOT/tests/support/oidc directory=$ROOT/target/oidc-provider
    # Copied last, so that a broken run leaves nothing that looks complete.
    cmp -s "$from/package-lock.json" "$directory/installed.json" && return
    note "installing the OpenID Connect provider for the tests"
    mkdir -p "$directory"
    cp "$from/package.json" "$from/package-lock.json" "$directory/"
    (cd "$directory" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null) ||
        fail "the OpenID Connect provider could not be installed" "It is needed for the tests alone."
    cp "$from/package-lock.json" "$directory/installed.json"
}

engine_answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Whether an engine answers that only root may talk to.
engine_answers_root() {
    [ -S /var/run/docker.sock ] && as_root docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Starts dockerd with the given options; returns 1 when it ends or does not answer in time.
try_engine() {
    local log=$ENGINE_STATE/dockerd.log pid_file=$ENGINE_STATE/dockerd.pid pid
    # shellcheck disable=SC2016 # The inner shell expands it.
    pid=$(as_root sh -c 'log=$1; shift; setsid dockerd "$@" >"$log" 2>&1 </dev/null & echo $!' sh "$log" "$@")
    write_pid "$pid_file" "$pid"
    local deadline=$((SECONDS + ENGINE_SECONDS))
    until as_root docker version --format '{{.Server.Version}}' >/dev/null 2>&1; do
        if ! pid_in "$pid_file" >/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            end_engine
            return 1
        fi
        sleep 0.2
    done
}

end_engine() {
    end_process "$ENGINE_STATE/dockerd.pid"
}

setup_engine() {
    engine_answers && return
    if [ -n "${DOCKER_HOST:-}" ]; then
        fail "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST" "Start it, or unset DOCKER_HOST to use a local one."
    fi
    if ! engine_answers_root; then
        note "starting a Docker Engine (its log: ${ENGINE_STATE#"$ROOT"/}/dockerd.log)"
        mkdir -p "$ENGINE_STATE"
        # In an unprivileged place it may not touch the packet filter: then containers have no network, which is
        # enough for everything here.
        try_engine || try_engine --iptables=false --bridge=none || {
            show_tail "$ENGINE_STATE/dockerd.log"
            fail "the Docker Engine does not come up" \
                "Inside a container, that container must be privileged; or point DOCKER_HOST at another engine."
        }
    fi
    engine_answers || grant_access
}

# For an ordinary user: an entry on this one socket, gone when the engine restarts, instead of a lasting membership in
# the group `docker`, which is as good as being root.
grant_access() {
    as_root setfacl -m "u:$(id -un):rw" /var/run/docker.sock 2>/dev/null || true
    engine_answers || fail "$(id -un) may not use the Docker Engine" \
        "Run: sudo usermod -aG docker $(id -un)" "Then log in again (that group is as good as root on this machine)."
    note "$(id -un) may use the Docker Engine until it restarts"
}

for part in "$@"; do
    case "$part" in
    packages) setup_packages ;;
    rust) setup_rust ;;
    nextest) setup_nextest ;;
    axe) setup_axe ;;
    oidc) setup_oidc ;;
    engine) setup_engine ;;
    engine-stop) end_engine ;;
    *)
        echo "usage: scripts/setup.sh [packages|rust|nextest|axe|oidc|engine|engine-stop]..." >&2
        exit 2
        ;;
    esac
done
