#!/bin/sh
# Prints the greeting and the commit that this image was built from; `--check` says whether it could.
set -eu

greeting_file=/etc/hello/greeting.txt

if ! [ -s "$greeting_file" ]; then
    echo "hello: $greeting_file is missing or empty" >&2
    exit 1
fi
[ "${1:-}" = --check ] && exit 0

cat "$greeting_file"
echo "Built from commit ${SOURCE_COMMIT:-unknown}."
