# One word per task; the work is in scripts/. Everything made stays in target/ and .weir/, and is safe to repeat.

.DEFAULT_GOAL := help
.PHONY: help setup wasm ui ui-test screenshots demo test check api e2e e2e-istio setup-istio prometheus images compose-test wasm-test bench soak instructions calibrate compare fuzz fmt clean
.NOTPARALLEL:

# Which Envoy: a version to fetch (tests are made for those in scripts/envoy; 1.37 means the newest 1.37 there), or a binary of
# your own with ENVOY=/path/to/envoy.
ENVOY_VERSION ?= 1.40.0
export ENVOY_VERSION ENVOY KEEP BENCH RUNS ONLY FORCE SECONDS_OF_LOAD EXAMPLES

help: ## Says what there is to make
	@echo 'Weir: splits traffic over versions of a service, measures, and moves it to the best.'
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-19s %s\n", $$1, $$2 }'
	@echo
	@echo '  ENVOY_VERSION=1.37   another Envoy        ENVOY=/path/to/envoy   your own'

demo: ## Shows the main job on a real Envoy, in about a minute (KEEP=1: leaves it running)
	@scripts/setup.sh wasm envoy
	@scripts/wasm.sh
	@scripts/demo.sh

test: ## Everything that CI asks: unit, end to end on the newest and the oldest Envoy, in a mesh, with Prometheus, as Wasm, checks
	@scripts/test.sh setup wasm ui build unit api e2e e2e-oldest istio prometheus ui-test wasm-test check

e2e: ## Only the tests on a real Envoy (ENVOY_VERSION=1.36, 1.37, 1.38, 1.39, 1.40)
	@scripts/test.sh setup wasm build e2e

e2e-istio: ## Only the tests in Istio's mesh: its own control plane, without Kubernetes, and real Envoys (needs Go)
	@scripts/test.sh setup wasm build istio

ui: ## Builds the dashboard: ui/dist, which the next build of the controller takes into its binary
	@scripts/setup.sh ui
	@scripts/ui.sh build

ui-test: ## Only the dashboard, in Chromium, on a real controller and a real Envoy
	@scripts/test.sh setup wasm ui build ui-test

screenshots: ## Pictures of each page of the dashboard, of a real experiment: docs/images
	@scripts/setup.sh wasm envoy ui browser
	@scripts/wasm.sh
	@scripts/ui.sh build
	@cargo build --bins
	@scripts/ui.sh screenshots

api: ## Only what fits the OpenAPI document, and what nearly does, sent to a real controller (EXAMPLES=30 an operation)
	@scripts/test.sh setup build api

prometheus: ## Only metrics, alerts and the Grafana dashboard's queries, on a real Prometheus, Envoy and controller
	@scripts/test.sh setup wasm build prometheus

images: ## Container images (with docker) and the filter as an OCI Wasm artifact: target/images
	@scripts/setup.sh wasm
	@scripts/wasm.sh
	@scripts/images.sh

compose-test: ## Docker compose from up to down, on this machine's Docker (as root, it starts one if none runs)
	@scripts/setup.sh wasm envoy prometheus
	@scripts/wasm.sh
	@scripts/compose-test.sh

wasm-test: ## Only the pure crates' tests, as Wasm under Node
	@scripts/test.sh setup wasm-test

check: ## Format, lints, documentation, dependency rules
	@scripts/test.sh setup check

bench: ## Benchmarks: a table, and target/bench/results.json
	@scripts/setup.sh wasm envoy
	@scripts/wasm.sh
	@scripts/bench.sh

soak: ## An hour of load and plan changes on a real Envoy: does memory grow? (SECONDS_OF_LOAD=3600)
	@scripts/setup.sh wasm envoy
	@scripts/wasm.sh
	@scripts/bench.sh --only soak --soak-seconds $${SECONDS_OF_LOAD:-3600}

instructions: ## Counts the Wasm instructions of a request anew: filter/instructions.txt, against which `make test` compares
	@scripts/setup.sh wasm
	@scripts/wasm.sh
	@WEIR_UPDATE_INSTRUCTIONS=1 cargo test --quiet -p weir-filter-host --test cost

calibrate: ## How often the promises hold, by simulation (RUNS=10000 a case; fewer are printed only, unless FORCE=1; ONLY=word: some cases): the table in docs/error-contract.md
	@scripts/calibrate.sh

compare: ## Weir against other policies, by simulation (RUNS=1000 each): the tables in docs/comparison.md
	@scripts/compare.sh

fuzz: ## Looks for counts and texts that break the engine (FUZZ_SECONDS=60 a target)
	@scripts/fuzz.sh

setup: ## Gets the tools, or says in one list what to install
	@scripts/setup.sh
	@scripts/ui.sh build --if-node

setup-istio: ## Builds Istio's control plane for its tests, once (needs Go; about five minutes)
	@scripts/setup.sh istio

wasm: ## Builds the filter: target/weir-filter.wasm
	@scripts/setup.sh wasm
	@scripts/wasm.sh

fmt: ## Formats the code
	@cargo fmt --all

clean: ## Removes what was built, but not the tools (.weir)
	@rm -rf target ui/test-dist
	@find ui/dist -mindepth 1 ! -name .gitkeep -delete
