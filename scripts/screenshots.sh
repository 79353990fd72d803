#!/usr/bin/env bash
# Takes the pictures in README anew: real pages of the service with real builds, as a browser test sees them
# (tests/browser/pictures.rs), put into docs/.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

scripts/setup.sh packages rust nextest engine
cargo nextest run --locked --test browser -E 'test(/^pictures::/)'
for name in dashboard build graph create; do
    cp "target/browser/$name.png" "docs/$name.png"
    note "docs/$name.png"
done
