#!/usr/bin/env bash
# `make test`: format, vet, staticcheck, and every test under the race
# detector, the CLI scripts and the arrow test among them. A skipped test is
# printed and counted; under CI=true a test that skips for something
# installable fails by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}

# need PROGRAM PACKAGE…: Debian packages that the tests need. What can not be
# installed is skipped by the tests, loudly, or fails them under CI=true.
need() {
  local program=$1
  shift
  if command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ]; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$program is not installed: apt-get install $*" >&2
    return
  fi
  echo "install  $*"
  # RUNLEVEL=1: a package must not start its service.
  export RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
  { apt-get install -y -q --no-install-recommends "$@" || { apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; }; } >/dev/null 2>&1 \
    || echo "$* could not be installed" >&2
}
need mosquitto mosquitto       # a real broker
need nft nftables              # faults of the kernel, in a network namespace of their own
need promtool prometheus       # reads metrics.prom
need xmllint libxml2-utils     # holds junit.xml against its schema
need npm nodejs npm            # the vendor's clients of compat/, hdr-histogram-js, the driver of the browser
if ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
  need chromium chromium       # opens the pages
fi
# The versions of the packages of Node are those of the lock files.
for d in compat/node compat/browser; do
  if command -v npm >/dev/null && ! (cd $d && npm ls >/dev/null 2>&1); then
    echo "install  the packages of $d"
    (cd $d && npm ci >/dev/null 2>&1) || echo "npm ci failed in $d" >&2
  fi
done

bad=$(gofmt -l $(git ls-files -co --exclude-standard '*.go'))
if [ -n "$bad" ]; then
  echo "not gofmt-clean:" >&2
  echo "$bad" >&2
  exit 1
fi
echo "gofmt    clean"
# compat/ and compat/formats are modules of their own: only their tests need the
# programs and libraries of others.
$GO vet ./...
(cd compat && $GO vet ./...)
(cd compat/formats && $GO vet ./...)
echo "vet      clean"
$GO tool -modfile=tools/go.mod staticcheck ./...
(cd compat && $GO tool -modfile=../tools/go.mod staticcheck ./...)
(cd compat/formats && $GO tool -modfile=../../tools/go.mod staticcheck ./...)
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
(cd compat/formats && $GO test -race -v -count=1 -timeout 5m ./...) >>"$log" 2>&1 || status=$?
# Allocations are counted without the race detector, which adds its own.
$GO test -v -run 'NotAllocate|WithoutAllocation|AcrossKicks|CostLittle|CostOfAWrapper' ./harness/mqtt ./harness/wire ./harness/protocol ./harness/ledger ./harness/fleet ./harness/netfault >>"$log" 2>&1 || status=$?
grep -E '^(ok|FAIL|panic:|---? FAIL|\?)' "$log" || true
if [ "$status" -ne 0 ]; then
  echo "--- what failed, with its output:"
  # What a test printed is gathered by its name: its FAIL line comes later, and
  # that of a subtest only when its parent has ended.
  awk '
    /^=== (RUN|CONT|NAME) / { test = $3; next }
    /^=== / { next }
    /^ *--- (PASS|SKIP): / { next }
    /^ *--- FAIL: / { failed[++n] = $3; print; next }
    /^(panic:|WARNING: DATA RACE)/ { loud = 80 }
    loud > 0 { print; loud-- }
    { said[test]++; if (said[test] <= 60) text[test] = text[test] $0 "\n" }
    END { for (i = 1; i <= n; i++) printf "--- %s said:\n%s", failed[i], text[failed[i]] }
  ' "$log" | head -n 400 || true
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
