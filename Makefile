# Drover: build, run, test. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= 0.1.0-dev
SHIM    := executor/shim/bin/drover-shim
MAKER   := executor/shim/bin/drover-container
CARRIED := $(SHIM) $(MAKER)
GOFILES := $(shell git ls-files '*.go' 2>/dev/null)
# Minutes that all tests of one package may take together.
TEST_TIMEOUT ?= 10m
BENCH ?= .
FUZZTIME ?= 10s

.PHONY: help run build test race check bench fuzz generate clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: build ## build, start a one-node cluster, run a job from testdata and show what happens (Ctrl-C ends it)
	@cmd/testdata/run.sh bin/drover

build: bin/drover ## build bin/drover, with the task shim and the maker of containers inside

# The shim is a program of its own, small enough to stand beside every task;
# drover carries it (go:embed) and unpacks it on each node.
$(SHIM): $(GOFILES) go.mod
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/drover-shim

# What makes containers is a program apart: its C code runs before main. It is
# linked statically, so it does not look for libraries in anybody's root.
$(MAKER): $(GOFILES) go.mod
	CGO_ENABLED=1 go build -trimpath -tags 'netgo osusergo' -ldflags "-s -w -extldflags '-static'" -o $@ ./cmd/drover-container

bin/drover: $(CARRIED) $(GOFILES) go.mod go.sum
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/drover

test: $(CARRIED) ## run all tests
	.ci/tools/packages
	go vet ./...
	go test -timeout $(TEST_TIMEOUT) ./...

race: $(CARRIED) ## run all tests under the race detector (slow)
	go test -race -timeout 30m ./...

check: ## format, vet and lint, generated files, module file
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	go vet ./...
	go mod tidy -diff
	.ci/tools/lint
	$(MAKE) generate
	@git diff --exit-code --stat || { echo 'make generate changed files: commit them'; exit 1; }

bench: build ## run the micro-benchmarks and compare them with the stored baseline by ratio
	@cmd/testdata/bench.sh '$(BENCH)'

fuzz: $(CARRIED) ## run every fuzzer for FUZZTIME (10s) each
	@set -e; for pkg in $$(go list ./...); do \
	  dir=$$(go list -f '{{.Dir}}' $$pkg); \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | sed 's/func //'); do \
	    echo "== $$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

generate: ## make generated files anew; the tree must be clean afterwards
	go generate ./...

clean: ## remove what was built
	rm -rf bin $(CARRIED)
