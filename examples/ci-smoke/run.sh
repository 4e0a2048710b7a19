#!/bin/sh
# Starts the service under test, checks it, and leaves a JUnit report behind.
# Usage: run.sh [REPORT]; NETJOBS names the program, PORT the service's port.
set -eu
here=$(dirname "$0")
report=${1:-netjobs.xml}
PORT=${PORT:-8080}
export PORT

# Put your own service here.
python3 -m http.server --bind 127.0.0.1 --directory "$here" "$PORT" >/dev/null 2>&1 &
service=$!
trap 'kill $service' EXIT

"${NETJOBS:-netjobs}" once "$here/smoke.yaml" --junit "$report"
