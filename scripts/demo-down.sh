#!/usr/bin/env bash
# Ends what scripts/demo.sh started, and removes its files and images.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/demo-lib.sh"

if ! [ -d "$DEMO" ]; then
    echo "Nothing to do: there is no demo/."
    exit 0
fi

# The service first: it still finishes or gives back what it is building.
end_process "$DEMO/hullworks.pid" 60
if [ -s "$DEMO/registry.port" ] && have docker; then
    remove_demo_images "127.0.0.1:$(cat "$DEMO/registry.port")"
fi
end_process "$DEMO/registry.pid"
"$ROOT/scripts/setup.sh" engine-stop
# What an engine of root logged belongs to root.
rm -rf "$DEMO" 2>/dev/null || as_root rm -rf "$DEMO"
echo "The demo is down, and demo/ is gone."
