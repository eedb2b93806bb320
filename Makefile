# Rebound: `make help` lists the targets. Needs Go and make only.
SHELL := /bin/bash
GO    ?= go
TOOL  := $(GO) tool -modfile=tools/go.mod
BIN   := bin/rebound
OUT   ?= reports/runs

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 36

.PHONY: build
build: ## build bin/rebound
	$(GO) build -trimpath -o $(BIN) ./cmd/rebound

.PHONY: run
run: build ## the main job: 1,000 clients, all connections closed at once, a report
	$(BIN) run kick-all

.PHONY: test
test: ## everything: format, vet, staticcheck, race tests, CLI scripts, arrows
	GO="$(GO)" bash .ci/test.sh

.PHONY: test-short
test-short: ## quick tests while editing
	$(GO) test -short ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$bad" ]; then echo "not gofmt-clean:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./... && cd compat && $(GO) vet ./... && cd formats && $(GO) vet ./...
	$(TOOL) staticcheck ./...
	cd compat && $(GO) tool -modfile=../tools/go.mod staticcheck ./...
	cd compat/formats && $(GO) tool -modfile=../../tools/go.mod staticcheck ./...

.PHONY: bench
bench: ## go test -bench over kick-all and kick-paced; reports in bench-out/
	mkdir -p bench-out
	$(GO) test ./bench -run '^$$' -bench . -benchtime 3x -count 10 -timeout 60m -artifacts -outputdir $(CURDIR)/bench-out | tee bench-out/bench.txt

.PHONY: soak
soak: build ## five minutes of kick-all: 30 runs of ten seconds
	$(BIN) run kick-all --repeat 30 --quiet

SOUNDNESS ?=

.PHONY: soundness
soundness: build ## each scenario, ten seeds, both drivers on mosquitto: no false alarm; goes on where it stopped (SOUNDNESS="--seeds 2")
	$(GO) build -trimpath -o bin/soundness ./internal/soundness
	bin/soundness $(SOUNDNESS)

.PHONY: fuzz
fuzz: ## every fuzz target for ten seconds
	@set -e; for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
	  echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 10s $$p; done; done

.PHONY: mutation
mutation: ## mutate the code of the checkers and see that their tests notice (half an hour)
	@set -e; for p in protocol ledger check; do echo "== harness/$$p"; \
	  GOFLAGS=-failfast $(TOOL) gremlins unleash ./harness/$$p --timeout-coefficient 15 --workers 2; done

.PHONY: repro-mochi-resume-race
repro-mochi-resume-race: ## show docs/track-record.md#mochi-resume-race again
	$(GO) test ./harness/broker -run TestTrackRecordMochiResumeRace -v -count=1

.PHONY: repro-mochi-clean-takeover
repro-mochi-clean-takeover: ## show docs/track-record.md#mochi-clean-takeover again
	$(GO) test ./harness/broker -run TestTrackRecordMochiCleanTakeover -v -count=1

.PHONY: repro-mochi-offline-order
repro-mochi-offline-order: ## show docs/track-record.md#mochi-offline-order again
	$(GO) test ./harness/broker -run TestTrackRecordMochiOfflineOrder -v -count=1

.PHONY: repro-mochi-unrouted-ack
repro-mochi-unrouted-ack: ## show docs/track-record.md#mochi-unrouted-ack again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiUnroutedAck$$' -v -count=1

.PHONY: repro-mochi-late-routing
repro-mochi-late-routing: ## show docs/track-record.md#mochi-late-routing again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiLateRouting$$' -v -count=1

.PHONY: repro-mochi-repeated-ack
repro-mochi-repeated-ack: ## show docs/track-record.md#mochi-repeated-ack again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiRepeatedAck$$' -v -count=1

.PHONY: repro-mochi-false-dup
repro-mochi-false-dup: ## show docs/track-record.md#mochi-false-dup again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiFalseDup$$' -v -count=1

.PHONY: repro-mochi-dup-cleared
repro-mochi-dup-cleared: ## show docs/track-record.md#mochi-dup-cleared again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiDupCleared$$' -v -count=1

.PHONY: repro-mochi-keepalive-integer
repro-mochi-keepalive-integer: ## show docs/track-record.md#mochi-keepalive-integer again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiKeepAlive$$' -v -count=1

.PHONY: repro-mochi-takeover-race
repro-mochi-takeover-race: ## show docs/track-record.md#mochi-takeover-race again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiTakeoverRace$$' -v -count=1

.PHONY: repro-mochi-shared-ids
repro-mochi-shared-ids: ## show docs/track-record.md#mochi-shared-ids again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiSharedIDs$$' -v -count=1

.PHONY: repro-mochi-disconnect-sent
repro-mochi-disconnect-sent: ## show docs/track-record.md#mochi-disconnect-sent again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiDisconnect$$' -v -count=1

.PHONY: repro-mochi-publish-before-connack
repro-mochi-publish-before-connack: ## show docs/track-record.md#mochi-publish-before-connack again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiPublishBeforeConnack$$' -v -count=1

.PHONY: repro-mochi-bolt-ids
repro-mochi-bolt-ids: ## show docs/track-record.md#mochi-bolt-ids again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiBoltIDs$$' -v -count=1

.PHONY: repro-mochi-bolt-phantoms
repro-mochi-bolt-phantoms: ## show docs/track-record.md#mochi-bolt-phantoms again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiBoltPhantoms$$' -v -count=1

.PHONY: repro-mochi-close-deadlock
repro-mochi-close-deadlock: ## show docs/track-record.md#mochi-close-deadlock again
	$(GO) test ./harness/broker -run TestTrackRecordMochiCloseDeadlock -v -count=1

.PHONY: repro-mochi-bolt-refused
repro-mochi-bolt-refused: ## show docs/track-record.md#mochi-bolt-refused again
	$(GO) test ./harness/broker -run '^TestTrackRecordMochiBoltRefused$$' -v -count=1

.PHONY: repro-mosquitto-inflight-quota
repro-mosquitto-inflight-quota: ## show docs/track-record.md#mosquitto-inflight-quota again
	$(GO) test ./harness/broker -run '^TestTrackRecordMosquittoQuota$$' -v -count=1

.PHONY: repro-mosquitto-keepalive-seconds
repro-mosquitto-keepalive-seconds: ## show docs/track-record.md#mosquitto-keepalive-seconds again
	$(GO) test ./harness/broker -run '^TestTrackRecordMosquittoKeepAlive$$' -v -count=1

.PHONY: repro-mosquitto-republish
repro-mosquitto-republish: ## show docs/track-record.md#mosquitto-republish again
	$(GO) test ./harness/broker -run '^TestTrackRecordMosquittoRepublish$$' -v -count=1

.PHONY: repro-paho-pubrel-forgotten
repro-paho-pubrel-forgotten: ## show docs/track-record.md#paho-pubrel-forgotten again
	$(GO) test ./harness/fleet -run '^TestTrackRecordPahoPubrel$$' -v -count=1

.PHONY: repro-paho-handled-twice
repro-paho-handled-twice: ## show docs/track-record.md#paho-handled-twice again
	$(GO) test ./harness/fleet -run '^TestTrackRecordPahoHandledTwice$$' -v -count=1

.PHONY: repro-paho-resume-after-clean
repro-paho-resume-after-clean: ## show docs/track-record.md#paho-resume-after-clean again
	$(GO) test ./harness/fleet -run '^TestTrackRecordPahoClean$$' -v -count=1

.PHONY: repro-paho-dup-on-first
repro-paho-dup-on-first: ## show docs/track-record.md#paho-dup-on-first again
	$(GO) test ./harness/fleet -run '^TestTrackRecordPahoDup$$' -v -count=1

.PHONY: repro-paho-late-ping
repro-paho-late-ping: ## show docs/track-record.md#paho-late-ping again
	$(GO) test ./harness/fleet -run '^TestTrackRecordPahoPing$$' -v -count=1

.PHONY: repro-paho-disconnect-twice
repro-paho-disconnect-twice: ## show docs/track-record.md#paho-disconnect-twice again
	$(GO) test ./harness/fleet -run '^TestPahoToldTwiceIsStuck$$' -v -count=1

.PHONY: golden
golden: ## write the golden files again; look at the diff before you commit it
	$(GO) test ./scenarios ./reports ./harness/judge ./cmd/rebound -update
	$(GO) test ./harness -run Schema -update

.PHONY: tidy-check
tidy-check: ## go.mod and go.sum are what the sources need
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff
	cd compat && $(GO) mod tidy -diff
	cd compat/formats && $(GO) mod tidy -diff

.PHONY: clean
clean: ## remove what was built
	rm -rf bin bench-out .cache
