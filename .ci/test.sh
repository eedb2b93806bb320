#!/usr/bin/env bash
# `make test`: format, vet, staticcheck, and every test under the race
# detector, the CLI scripts and the arrow test among them. A skipped test is
# printed and counted; under CI=true a test that skips for something
# installable fails by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}

# The real brokers of the tests. What can not be installed is skipped by the
# tests, loudly, or fails them under CI=true.
if ! command -v mosquitto >/dev/null && [ ! -x /usr/sbin/mosquitto ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "install  mosquitto"
    # RUNLEVEL=1: the package must not start its service.
    export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
    { apt-get install -y -q mosquitto || { apt-get update -q && apt-get install -y -q mosquitto; }; } >/dev/null 2>&1 \
      || echo "mosquitto could not be installed" >&2
  else
    echo "mosquitto is not installed: apt-get install mosquitto" >&2
  fi
fi

# The vendor's clients on Node, of compat/. What can not be installed is treated
# as above; the versions are those of its lock file.
if ! command -v npm >/dev/null; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "install  nodejs npm"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get install -y -q --no-install-recommends nodejs npm || { apt-get update -q && apt-get install -y -q --no-install-recommends nodejs npm; }; } >/dev/null 2>&1 \
      || echo "nodejs and npm could not be installed" >&2
  else
    echo "npm is not installed: apt-get install nodejs npm" >&2
  fi
fi
for d in compat/node compat/browser; do
  if command -v npm >/dev/null && ! (cd $d && npm ls >/dev/null 2>&1); then
    echo "install  the packages of $d"
    (cd $d && npm ci >/dev/null 2>&1) || echo "npm ci failed in $d" >&2
  fi
done

# The browser that opens the pages.
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "install  chromium"
    export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
    { apt-get install -y -q --no-install-recommends chromium || { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; }; } >/dev/null 2>&1 \
      || echo "chromium could not be installed" >&2
  else
    echo "chromium is not installed: apt-get install chromium" >&2
  fi
fi

bad=$(gofmt -l $(git ls-files -co --exclude-standard '*.go'))
if [ -n "$bad" ]; then
  echo "not gofmt-clean:" >&2
  echo "$bad" >&2
  exit 1
fi
echo "gofmt    clean"
# compat/ is a module of its own: only its tests need the vendor's clients.
$GO vet ./...
(cd compat && $GO vet ./...)
echo "vet      clean"
$GO tool -modfile=tools/go.mod staticcheck ./...
(cd compat && $GO tool -modfile=../tools/go.mod staticcheck ./...)
echo "static   clean"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# -v to see each skip; the log is shown whole only where something failed.
# Packages run one after another: tests that start fleets must not starve
# each other of two cores.
status=0
$GO test -race -v -p 1 -timeout 20m ./... >"$log" 2>&1 || status=$?
# -count=1: the test cache does not see that the binary has changed.
(cd compat && $GO test -race -v -count=1 -timeout 10m ./...) >>"$log" 2>&1 || status=$?
# Allocations are counted without the race detector, which adds its own.
$GO test -v -run 'NotAllocate|AcrossKicks' ./harness/mqtt ./harness/wire ./harness/protocol ./harness/ledger ./harness/fleet >>"$log" 2>&1 || status=$?
grep -E '^(ok|FAIL|panic:|---? FAIL|\?)' "$log" || true
if [ "$status" -ne 0 ]; then
  echo "--- what failed, with its output:"
  # A test's own lines stand above its FAIL line.
  grep -E -B60 -A20 -e '^ *--- FAIL|^panic:|DATA RACE' "$log" | grep -vE '^=== |--- PASS' | head -n 400
fi
passed=$(grep -cE '^ *--- PASS' "$log" || true)
failed=$(grep -cE '^ *--- FAIL' "$log" || true)
skipped=$(grep -cE '^ *--- SKIP' "$log" || true)
if [ "$skipped" -gt 0 ]; then
  echo "SKIPPED ($skipped):"
  grep -E -A2 '^ *--- SKIP' "$log"
fi
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
