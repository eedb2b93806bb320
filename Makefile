# Rebound: `make help` lists the targets. Needs Go and make only.
SHELL := /bin/bash
GO    ?= go
TOOL  := $(GO) tool -modfile=tools/go.mod
BIN   := bin/rebound
OUT   ?= reports/runs

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 26

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
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

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

.PHONY: golden
golden: ## write the golden files again; look at the diff before you commit it
	$(GO) test ./scenarios ./reports ./harness/judge ./cmd/rebound -update
	$(GO) test ./harness -run Schema -update

.PHONY: tidy-check
tidy-check: ## go.mod and go.sum are what the sources need
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff

.PHONY: clean
clean: ## remove what was built
	rm -rf bin bench-out .cache
