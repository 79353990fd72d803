#!/usr/bin/env bash
# Shows the whole way of a push on this machine: git push -> webhook -> build -> registry -> docker run.
# Everything it makes is in demo/; it can run again, and pushes another commit then. scripts/demo-down.sh ends it.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/demo-lib.sh"
cd "$ROOT"

REPOSITORY=demo/hello
# Seconds for the service or the registry to answer after their start.
START_SECONDS=30
# Seconds for a build to end; the example takes a few.
BUILD_SECONDS=170
# Seconds for Docker Hub to hand over the base image before the demo makes one itself.
PULL_SECONDS=20

# The port that an earlier run used, so that addresses stay the same, or the first free one from a number on.
keep_port() {
    local file=$1 first=$2
    if ! [ -s "$file" ] || { ! pid_in "$3" >/dev/null && port_is_taken "$(cat "$file")"; }; then
        next_free_port "$first" >"$file"
    fi
    cat "$file"
}

# Whether a binary is newer than everything it is made from.
is_fresh() {
    [ -x "$1" ] && [ -z "$(find Cargo.toml Cargo.lock src migrations -newer "$1" -print -quit 2>/dev/null)" ]
}

# The binary to show: a release that is there already, or else a development build, which compiles much faster.
build_service() {
    if is_fresh target/release/hullworks; then
        BINARY=$ROOT/target/release/hullworks
        note "target/release/hullworks is there"
        return
    fi
    note "compiling a development build (the first time takes some minutes)"
    cargo build --locked --quiet --bin hullworks || fail "the service does not compile"
    BINARY=$ROOT/target/debug/hullworks
}

registry_answers() {
    curl --silent --fail --max-time 2 --output /dev/null "http://$REGISTRY/v2/"
}

start_registry() {
    if pid_in "$DEMO/registry.pid" >/dev/null && registry_answers; then
        note "running at $REGISTRY"
        return
    fi
    mkdir -p "$DEMO/registry"
    cat >"$DEMO/registry.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$DEMO/registry"}, delete: {enabled: true}}
http: {addr: "$REGISTRY"}
YAML
    in_background "$DEMO/registry.pid" "$DEMO/registry.log" docker-registry serve "$DEMO/registry.yml"
    wait_until "$START_SECONDS" registry_answers || {
        show_tail "$DEMO/registry.log"
        fail "the registry does not answer at $REGISTRY"
    }
    note "started at $REGISTRY"
}

# The demo's registry gets a copy of busybox: from Docker Hub, or made from this machine's own where that is out of reach.
provide_base_image() {
    local base=$REGISTRY/library/busybox:stable origin="Docker Hub"
    if curl --silent --fail --max-time 2 --output /dev/null "http://$REGISTRY/v2/library/busybox/manifests/stable" \
        --header 'Accept: application/vnd.docker.distribution.manifest.v2+json'; then
        note "$base is there"
        return
    fi
    if timeout "$PULL_SECONDS" docker pull --quiet docker.io/library/busybox:stable >/dev/null 2>&1; then
        docker tag docker.io/library/busybox:stable "$base"
    else
        origin="this machine's busybox: Docker Hub is out of reach"
        import_busybox "$base"
    fi
    docker push "$base" >"$DEMO/base.log" 2>&1 || {
        show_tail "$DEMO/base.log"
        fail "the engine could not push $base"
    }
    note "$base (from $origin)"
}

# import_busybox IMAGE: a root directory with one static program and its names, made an image.
import_busybox() {
    local root
    root=$(mktemp -d)
    mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/usr/local/bin"
    chmod 755 "$root"
    chmod 1777 "$root/tmp"
    cp -L "$(command -v busybox)" "$root/bin/busybox"
    local applet
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    tar -C "$root" --numeric-owner --owner 0 --group 0 -c . |
        docker import --change 'CMD ["sh"]' --change 'ENV PATH=/usr/local/bin:/bin' - "$1" >/dev/null ||
        fail "the engine could not import $1"
    rm -rf "$root"
}

service_answers() {
    curl --silent --fail --max-time 2 --output /dev/null "$HULLWORKS_URL/readyz"
}

start_service() {
    # Always a new process: the binary may be a newer one, and what it knew is in demo/data.
    end_process "$DEMO/hullworks.pid" 60
    mkdir -p "$HULLWORKS_DATA_DIR"
    cat >"$HULLWORKS_DATA_DIR/hullworks.toml" <<TOML
# Written by the demo.
allow_local_sources = true
default_registry = "$REGISTRY"

[base_images]
poll_seconds = 10
TOML
    in_background "$DEMO/hullworks.pid" "$DEMO/hullworks.log" "$BINARY" serve --data-dir "$HULLWORKS_DATA_DIR" \
        --listen "$LISTEN" --public-url "$HULLWORKS_URL" ${DOCKER_HOST:+--docker-host "$DOCKER_HOST"}
    wait_until "$START_SECONDS" service_answers || {
        show_tail "$DEMO/hullworks.log"
        curl --silent --max-time 2 "$HULLWORKS_URL/readyz" >&2 || true
        fail "the service does not get ready at $HULLWORKS_URL" "Its log is demo/hullworks.log."
    }
    note "started at $HULLWORKS_URL, its log is demo/hullworks.log"
}

# The account `demo`, and a token for its programs; both stay where only this user can read them.
make_account() {
    if [ -s "$DEMO/token" ]; then
        note "user demo is there"
        return
    fi
    (
        umask 077
        random_hex 12 >"$DEMO/password"
        "$BINARY" user add demo --admin --password-stdin <"$DEMO/password" >"$DEMO/account.log" 2>&1 &&
            "$BINARY" token create --user demo --name "make demo" >"$DEMO/token.new" 2>>"$DEMO/account.log"
    ) || {
        show_tail "$DEMO/account.log"
        fail "the user demo could not be made" "Start over: make demo-down demo"
    }
    mv "$DEMO/token.new" "$DEMO/token"
    note "user demo, its password is in demo/password"
}

# api PATH: an answer of the API; the token goes through a pipe, not through the process list.
api() {
    curl --silent --show-error --fail-with-body --max-time 30 --header @- "$HULLWORKS_URL/api/v1$1" \
        <<<"Authorization: Bearer $HULLWORKS_TOKEN"
}

describe_repository() {
    if ! [ -s "$DEMO/webhook-secret" ]; then
        (umask 077 && random_hex 24 >"$DEMO/webhook-secret")
    fi
    (
        umask 077
        cat >"$DEMO/hullworks.yaml" <<YAML
repositories:
  - name: $REPOSITORY
    description: Says hello, and which commit it was built from
    image: $REGISTRY/$REPOSITORY
    source:
      provider: github
      url: file://$DEMO/hello.git
      webhook_secret: $(cat "$DEMO/webhook-secret")
    rules:
      - source_type: branch
        source: main
        docker_tag: latest
        dockerfile: Dockerfile
        context: /
        build_args:
          REGISTRY: $REGISTRY/library
      - source_type: tag
        source: /^v([0-9.]+)$/
        docker_tag: '{\\1}'
        dockerfile: Dockerfile
        context: /
        build_args:
          REGISTRY: $REGISTRY/library
YAML
    )
    "$BINARY" apply -f "$DEMO/hullworks.yaml" | sed 's/^/   /' || fail "demo/hullworks.yaml could not be applied"
}

# A bare repository that tells the service about every push, and a clone of it to work in.
make_git_repository() {
    if ! [ -d "$DEMO/hello.git" ]; then
        git init --quiet --bare --initial-branch main "$DEMO/hello.git"
    fi
    install -m 755 examples/post-receive "$DEMO/hello.git/hooks/post-receive"
    local url
    url=$(api "/repositories/$REPOSITORY" | jq --exit-status --raw-output .webhook.url) ||
        fail "the service does not say where its webhook is" "Its log is demo/hullworks.log."
    local setting
    for setting in "url $url" "secretfile $DEMO/webhook-secret" "repository $REPOSITORY" \
        "cloneurl file://$DEMO/hello.git"; do
        git -C "$DEMO/hello.git" config "hullworks.${setting%% *}" "${setting#* }"
    done
    if ! [ -d "$DEMO/hello/.git" ]; then
        rm -rf "$DEMO/hello"
        cp -R examples/hello "$DEMO/hello"
        git -C "$DEMO/hello" init --quiet --initial-branch main
        git -C "$DEMO/hello" config user.name "Demo"
        git -C "$DEMO/hello" config user.email "demo@localhost"
        git -C "$DEMO/hello" config commit.gpgsign false
        git -C "$DEMO/hello" remote add origin "$DEMO/hello.git"
    fi
    note "demo/hello.git, with examples/post-receive as its hook, and a clone of it in demo/hello"
}

push_commit() {
    local message="Say hello"
    if git -C "$DEMO/hello" rev-parse --quiet --verify HEAD >/dev/null; then
        message="Say hello again"
        echo "Hello again, at $(date '+%H:%M:%S')." >>"$DEMO/hello/greeting.txt"
    fi
    git -C "$DEMO/hello" add --all
    git -C "$DEMO/hello" commit --quiet --message "$message"
    COMMIT=$(git -C "$DEMO/hello" rev-parse HEAD)
    note "git push  (${COMMIT:0:12}, \"$message\")"
    git -C "$DEMO/hello" push origin main 2>&1 | sed 's/^/   /' || fail "git push failed"
}

# Prints the newest build of the pushed commit.
find_build() {
    "$BINARY" builds --json | jq --exit-status --raw-output --arg commit "$COMMIT" \
        '[.. | objects | select(.commit? == $commit and has("id")) | .id][0] // empty'
}

follow_build() {
    wait_until 15 find_build || fail "the push did not queue a build" \
        "What the service made of it: $HULLWORKS_URL/api/v1/repositories/$REPOSITORY/deliveries" \
        "Its log is demo/hullworks.log."
    BUILD=$(find_build)
    note "build $BUILD"
    local result=0
    timeout "$BUILD_SECONDS" "$BINARY" logs "$BUILD" --follow 2>&1 | sed "s/^/   $DIM| /; s/\$/$PLAIN/" || result=$?
    # Following ends with the log; the outcome is written a moment later.
    wait_until 10 build_has_ended || true
    local state
    state=$(api "/builds/$BUILD") || fail "the build $BUILD cannot be read" "$state"
    if [ "$(jq --raw-output .status <<<"$state")" != succeeded ]; then
        fail "the build is $(jq --raw-output '.status + (if .error then ": " + .error.message else "" end)' <<<"$state")" \
            "Following it ended with status $result. The service's log is demo/hullworks.log."
    fi
    note "${GREEN}succeeded$PLAIN: $(jq --raw-output '.image + ":" + .tags[0] + " is " + .digest' <<<"$state")"
}

build_has_ended() {
    api "/builds/$BUILD" | jq --exit-status '.finished_at != null'
}

run_image() {
    local image=$REGISTRY/$REPOSITORY:latest
    # What the build left in the engine is forgotten first: the image that runs comes from the registry.
    docker image rm --force "$image" >/dev/null 2>&1 || true
    docker pull --quiet "$image" >/dev/null || fail "the engine could not pull $image"
    note "docker run --rm $image"
    docker run --rm --network none "$image" >"$DEMO/run.log" 2>&1 || {
        show_tail "$DEMO/run.log"
        fail "the image does not run"
    }
    sed "s/^/   $GREEN| /; s/\$/$PLAIN/" "$DEMO/run.log"
}

what_next() {
    cat <<TEXT

${BOLD}Open${PLAIN}  $HULLWORKS_URL      sign in as demo, with the password in demo/password

${BOLD}Try${PLAIN}   export HULLWORKS_URL=$HULLWORKS_URL HULLWORKS_TOKEN=\$(cat demo/token) PATH=$(dirname "$BINARY"):\$PATH
      make demo                                  another commit, another image
      git -C demo/hello tag v1.0 && git -C demo/hello push origin v1.0      the image demo/hello:1.0
      hullworks trigger $REPOSITORY --follow      build without a push
      hullworks builds                           every build
      hullworks logs $BUILD
      hullworks deliveries demo/hello            every push, and what became of it

${BOLD}End${PLAIN}   make demo-down
TEXT
}

printf '%sHullworks: push to Git, get an image%s\n' "$BOLD" "$PLAIN"
step "Tools and Docker Engine"
scripts/setup.sh packages rust engine
note "Docker Engine $(docker version --format '{{.Server.Version}}')"
mkdir -p "$DEMO"

step "The service, compiled"
build_service

REGISTRY=127.0.0.1:$(keep_port "$DEMO/registry.port" 5000 "$DEMO/registry.pid")
LISTEN=127.0.0.1:$(keep_port "$DEMO/hullworks.port" 8080 "$DEMO/hullworks.pid")
export HULLWORKS_URL=http://$LISTEN HULLWORKS_DATA_DIR=$DEMO/data

step "A registry"
start_registry
provide_base_image

step "The service, running"
start_service
make_account
HULLWORKS_TOKEN=$(cat "$DEMO/token")
export HULLWORKS_TOKEN

step "A repository"
describe_repository
make_git_repository

step "A push"
push_commit

step "The build"
follow_build

step "The image, pulled and run"
run_image
what_next
