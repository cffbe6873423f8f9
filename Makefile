# Segue. `make` alone tells the verbs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CGO_ENABLED ?= 0
# Go fetches the release that go.mod names where this machine's is older.
export GOTOOLCHAIN ?= auto

CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/segue
MUSIC   ?=
DATA    ?= ./data
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOLS   := $(CACHE)/bin
GOLANGCI_VERSION := v2.15.0
BUF_VERSION      := v1.75.0
HELM_VERSION     := v4.3.1

.PHONY: help run demo build web test test-go test-web test-race test-engines test-spark test-bigquery engines engines-stop cluster cluster-stop test-system test-skew test-browser fault fuzz bench bench-audio lint gen released check supply check-ops check-deploy image test-image deps deps-browser clean

help: ## tell the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## start Segue on demo music, or on your own: make run MUSIC=~/Music
	@scripts/run.sh "$(DATA)" "$(CACHE)" "$(MUSIC)"

build: deps web ## build bin/segue and bin/seguectl
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/segue ./cmd/seguectl

web: ## build the web player into web/dist
	@scripts/web.sh

deps: ## install what is missing: ffmpeg, ffprobe, fpcalc
	@scripts/deps.sh run

deps-browser:
	@scripts/deps.sh browser

test: build test-go test-web test-system test-browser ## run every test of the programs; test-engines runs the stores' on each engine

test-go: deps
	go vet ./...
	go test ./...

test-web: web
	cd web && npm run --silent check && npm run --silent test

test-race: ## run the Go tests under the race detector (needs gcc)
	@scripts/deps.sh race
	@# Not two packages whose libraries race by themselves: tusd, the server of the tests of
	@# seguectl's uploads, and quic-go when a stream opens in early data (quic-go issue 4303).
	CGO_ENABLED=1 go test -race $$(go list ./... | grep -v -e seguectl/internal/tus -e '/stream/client$$')

# What make test-engines insists on; without the list it is every engine there is.
ENGINES := cassandra,kafka,s3,gcs,redis,postgres

test-engines: ## run the contract suites on real engines, which are fetched and started here
	scripts/engines.sh "$(CACHE)"
	SEGUE_TEST_ENGINES="$(CACHE)/engines" SEGUE_TEST_REQUIRE="$${SEGUE_TEST_REQUIRE:-$(ENGINES)}" \
		go test -count=1 -tags engines -timeout 20m ./edge/gateway/... ./event/... ./internal/... ./services/... ./test/engines

test-spark: ## run the jobs of jobs/ on Spark, Kafka and S3, which are fetched and started here; ten minutes of plays: make test-spark FULL=1
	scripts/engines.sh "$(CACHE)"
	scripts/spark.sh "$(CACHE)"
	PYTHONPATH=jobs "$(CACHE)/spark/venv/bin/python" -m unittest discover -s jobs/tests
	SEGUE_TEST_ENGINES="$(CACHE)/engines" SEGUE_TEST_REQUIRE=kafka,s3 SEGUE_TEST_SPARK="$(CACHE)/spark" \
		go test -count=1 -tags spark -timeout 40m -v ./test/spark $(if $(FULL),-spark.run=10m)

test-bigquery: ## load every topic of a lake into an emulator of BigQuery, which is fetched and started here
	scripts/bigquery.sh "$(CACHE)"
	SEGUE_TEST_BIGQUERY="$(CACHE)/bigquery" go test -count=1 -tags bigquery -v ./test/bigquery

engines: ## start PostgreSQL, Redis, Cassandra, Kafka, S3 and Cloud Storage here, for Segue to run on; tells their addresses
	scripts/engines.sh "$(CACHE)" >&2
	@go build -o bin/engines ./test/engines
	@bin/engines start -programs="$(CACHE)/engines"

engines-stop: ## end what make engines started
	@go build -o bin/engines ./test/engines
	@bin/engines stop

cluster: build ## start Segue as one process per service on those engines; its music comes by a bucket: make cluster MUSIC=~/Music
	@scripts/cluster.sh "$(CACHE)" "$(MUSIC)"

cluster-stop: ## end what make cluster started
	@go build -o bin/cluster ./test/cluster/cmd
	@bin/cluster stop

test-system: build ## run the scenarios on the built programs: one process, and one process per service on real engines
	scripts/engines.sh "$(CACHE)"
	go build -o bin/engines ./test/engines
	SEGUE_TEST_ENGINES="$(CACHE)/engines" go test -count=1 -tags system -timeout 20m ./test/...

test-skew: build ## run scenarios with the gateway of the last release before services of this one, and the reverse
	scripts/engines.sh "$(CACHE)"
	go build -o bin/engines ./test/engines
	released=$$(scripts/released.sh "$(CACHE)") && SEGUE_TEST_RELEASED="$$released" SEGUE_TEST_ENGINES="$(CACHE)/engines" \
		go test -count=1 -tags "system skew" -run '^TestSkew' -timeout 20m -v ./test/system

test-browser: build deps-browser ## drive the player in Chromium against the built server
	cd web && npm run --silent e2e

fault: build ## attack and break the built programs (root: it fills a disk of its own); the long way: make fault FULL=1
	scripts/engines.sh "$(CACHE)"
	go build -o bin/engines ./test/engines
	SEGUE_TEST_ENGINES="$(CACHE)/engines" go test -count=1 -tags "system fault" -run '^TestFault' -timeout 120m -v ./test/system $(if $(FULL),-fault.full)

fuzz: ## fuzz each parser for a while: make fuzz FUZZTIME=10m JOBS=2
	@scripts/fuzz.sh $(or $(FUZZTIME),20s) $(or $(JOBS),1)

bench: build ## measure: make bench tells start, seek and next track; BENCH=matrix, load, events, edge, log, catalogue or ingest the rest
	@scripts/bench.sh $(BENCH)

bench-audio: deps ## measure what is found out about sound, beside others: fingerprints, tempo, key; a part: make bench-audio AUDIO=labelled, or "-tracks=10 recall"
	@[ "$(AUDIO)" = labelled ] || MUSIC="$(MUSIC)" scripts/audiobench.sh $(AUDIO)
	@[ -n "$(filter-out labelled,$(AUDIO))" ] || scripts/labelled.sh "$(CACHE)"

check-ops: ## check the alerts and their tests with promtool
	@scripts/check-ops.sh "$(CACHE)"

check-deploy: $(TOOLS)/helm-$(HELM_VERSION) ## check the Helm chart, the compose file and the settings that ship
	@scripts/check-deploy.sh "$(CACHE)" "$<"

IMAGE ?= localhost/segue:latest

image: build ## make the container image with buildah (root): make image IMAGE=registry.example.org/segue:1.0
	@scripts/image.sh "$(IMAGE)"

test-image: image ## try the image out (root): Segue starts in it and takes a track in
	@root=$$(scripts/image.sh mount "$(IMAGE)") && trap 'scripts/image.sh umount' EXIT && \
		SEGUE_IMAGE_ROOT="$$root" go test -count=1 -tags image ./test/image

supply: build ## known vulnerabilities, licences, bill of materials
	@scripts/supply.sh "$(CACHE)"

lint: $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION) ## run the linters
	$< run ./...

gen: $(TOOLS)/buf-$(BUF_VERSION) ## generate Go and TypeScript from proto/
	$< lint
	$< generate
	$< build --path proto/segue/event/v1/envelope.proto --path proto/segue/event/v1/playback.proto -o jobs/segue_jobs/events.binpb
	@scripts/web.sh gen

# What programs of the last release speak. They run beside those of this one while a cluster
# is brought forward, so nothing in it may change its meaning.
RELEASED := proto/released.binpb

released: $(TOOLS)/buf-$(BUF_VERSION) ## note the contracts as released: from now on they may only grow
	$< build --exclude-source-info -o $(RELEASED)

check: gen ## fail where generated code, formatting or go.mod are stale, or a released contract was broken
	$(TOOLS)/buf-$(BUF_VERSION) breaking --against $(RELEASED)
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!gen'))" || { gofmt -l $$(git ls-files '*.go' ':!gen'); echo 'not formatted'; exit 1; }
	go mod tidy -diff
	@git diff --exit-code --stat -- gen web/src/gen jobs/segue_jobs/events.binpb || { echo 'generated code was stale: commit what make gen made'; exit 1; }

$(TOOLS)/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/buf-$(BUF_VERSION):
	GOBIN=$(TOOLS) go install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)
	mv $(TOOLS)/buf $@

$(TOOLS)/helm-$(HELM_VERSION):
	@echo "Building helm $(HELM_VERSION), which takes minutes once"
	GOBIN=$(TOOLS) go install -trimpath -ldflags "-s -w" helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)
	mv $(TOOLS)/helm $@

clean: ## remove what was built; data and the caches stay
	rm -rf bin web/dist/assets web/dist/index.html
