# shellcheck shell=bash
# Where the demo keeps its things. Sourced by the demo's scripts, after lib.sh.

DEMO=$ROOT/demo
export DEMO
export ENGINE_STATE=$DEMO/engine

# Removes what the demo put into the engine: its images, and the containers made from them.
remove_demo_images() {
    local registry=$1 images
    images=$(docker image ls --quiet --filter "reference=$registry/demo/*" --filter "reference=$registry/library/*" |
        sort -u)
    [ -n "$images" ] || return 0
    # One word per image.
    # shellcheck disable=SC2086
    docker image rm --force $images >/dev/null 2>&1 || true
}
