# make run    build and start Caddyfile.example in front of a demo API
# make test   everything, on a machine with only Go and make

GO ?= go
FUZZTIME ?= 5s
STATICCHECK = $(GO) tool -modfile=tools/go.mod staticcheck

.PHONY: run build setup test demo lint fuzz bench faults clean

run: build
	@scripts/run-demo

build:
	$(GO) build -trimpath -o bin/caddy-apikey ./xcaddy

setup:
	@scripts/setup

test: setup
	scripts/test
	$(MAKE) demo

demo: build
	scripts/run-demo --check

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

fuzz: setup
	scripts/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./keyring ./limit ./hmacsig ./store/bolt ./caddyapikey

# FAULTS_RUN takes some of the tests only, by their name. The figures of other
# numbers (R01, R02, ...) stay in the page; those of one number go together.
FAULTS_RUN ?= .
faults: setup
	FAULTS=full FAULTS_PAGE=$(CURDIR)/docs/faults.md $(GO) test -count=1 -timeout 60m -run '$(FAULTS_RUN)' ./faults

clean:
	rm -rf bin .run
