#!/usr/bin/env bash
# Every check there is: format, lints, documentation, scripts, and all tests against a real Docker Engine, registry,
# git server and PostgreSQL. What it started is ended when it ends, however it ends; what ran before is left alone.
#
#   scripts/test.sh [ARGUMENTS OF cargo nextest run]

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# In /tmp, where PostgreSQL's own user may go even if the sources are in root's home.
POSTGRES_DIR=$(mktemp -d "${TMPDIR:-/tmp}/hullworks-postgres.XXXXXX")
export ENGINE_STATE=$ROOT/target/test-engine

clean_up() {
    scripts/postgres.sh stop "$POSTGRES_DIR" || true
    scripts/setup.sh engine-stop || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# check TEXT COMMAND...: a step that succeeds or ends the run.
check() {
    step "$1"
    shift
    "$@" || fail "\`$*\` (exit status $?)"
}

step "Tools, Docker Engine, PostgreSQL"
scripts/setup.sh packages rust nextest axe oidc engine
TEST_DATABASE_URL=$(scripts/postgres.sh start "$POSTGRES_DIR")
export TEST_DATABASE_URL
note "$(cargo --version), Docker Engine $(docker version --format '{{.Server.Version}}')"

check "Format" cargo fmt --all --check
check "Scripts" shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh .ci/run \
    examples/post-receive examples/hello/hello.sh
check "Lints" cargo clippy --locked --all-targets -- -D warnings
check "Documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
check "Tests: build" cargo nextest run --locked --no-run
step "Tests"
cargo nextest run --locked "$@"
