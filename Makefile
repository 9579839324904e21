# Two commands matter: `make demo` does the main job, `make test` checks everything. `make help` lists the rest.

SHELL := /bin/bash
export GOTOOLCHAIN := local

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/kiln-farm/kiln/internal/version.version=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'

# What the tests and the demo need of Debian 12 beside Go.
DEMO_PACKAGES := cpio zstd dosfstools qemu-system-x86 ipxe-qemu seabios
TEST_PACKAGES := gcc libc6-dev $(DEMO_PACKAGES) qemu-system-arm ovmf qemu-efi-aarch64 openssl iproute2 dnsmasq-base ipxe isc-dhcp-client dhcpcd-base bind9 cloud-init busybox-static grub-common \
  qemu-utils gdisk fdisk mtools xorriso genisoimage squashfs-tools erofs-utils umoci cryptsetup-bin sbsigntool binutils skopeo \
  docker-registry syslinux syslinux-common syslinux-utils pxelinux isolinux systemd-boot-efi u-boot-tools
# What make bench measures the edge beside, and with; what is missing is left out of its tables.
BENCH_PACKAGES := iproute2 dnsmasq-base atftpd nginx-light curl atftp kea-dhcp4-server kea-admin
# DHCP clients that an edge has to please.
CLIENT_PACKAGES := busybox-static isc-dhcp-client isc-dhcp-relay dhcpcd-base systemd
# Another host for builds that must give the same bytes: another processor, another time.
HOST_PACKAGES := qemu-user faketime

PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_CONNECT := connectrpc.com/connect/cmd/protoc-gen-connect-go@v1.21.1

.PHONY: help build build-all tools farm farm-down chaos demo test check e2e fuzz bench proto clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## build bin/kiln
	@mkdir -p bin
	$(GOBUILD) -o bin/kiln ./cli/kiln

build-all: ## build bin/kiln-linux-amd64, bin/kiln-linux-arm64, and bin/kiln-darwin-arm64 for those who ask a farm from there
	@mkdir -p bin
	GOOS=linux GOARCH=amd64 $(GOBUILD) -o bin/kiln-linux-amd64 ./cli/kiln
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o bin/kiln-linux-arm64 ./cli/kiln
	GOOS=darwin GOARCH=arm64 $(GOBUILD) -o bin/kiln-darwin-arm64 ./cli/kiln

tools: ## build what tests need beside Kiln: a real S3 server, crane
	@deploy/tools.sh

farm: build tools ## start a farm of processes on this machine: 3 coordinators, 4 builders, S3
	@deploy/farm.sh up

farm-down: ## end what make farm started
	@deploy/farm.sh down

demo: ## build two images out of Debian packages and boot one from the network in QEMU
	@deploy/packages.sh $(DEMO_PACKAGES)
	@$(MAKE) --no-print-directory build
	@deploy/demo.sh

check: ## formatting, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	  [[ -z "$$unformatted" ]] || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./...
	@deploy/tools.sh staticcheck
	build/tools/staticcheck ./...

test: ## everything that is quick: checks, all tests under the race detector, a boot in QEMU
	@deploy/packages.sh $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory build tools check
	@deploy/leftovers.sh go test -race -timeout 20m ./...

e2e: ## the long end-to-end tests: every format under its firmware, all compressions, DHCP clients
	@deploy/packages.sh $(TEST_PACKAGES) $(CLIENT_PACKAGES) $(HOST_PACKAGES)
	@$(MAKE) --no-print-directory build tools
	KILN_E2E=full go test -count=1 -timeout 120m -v ./e2e/...

CHAOS ?= 5m
chaos: tools ## break a farm of processes for CHAOS (5m), and check what it did; the report goes to build/chaos
	@mkdir -p build/chaos
	KILN_CHAOS=$(CHAOS) KILN_CHAOS_REPORT=$(CURDIR)/build/chaos go test -count=1 -timeout 60m -v -run TestAFarmGoesOn ./e2e/chaos
	KILN_DHCP=$(CHAOS) KILN_CHAOS_REPORT=$(CURDIR)/build/chaos go test -count=1 -timeout 60m -v -run TestEveryMachine ./e2e/room

FUZZTIME ?= 30s
fuzz: ## each fuzz target for FUZZTIME (30s)
	@set -e; for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
	  done; done

bench: build tools ## time and memory of builds, of the scheduler and of the boot edge; LINUXKIT=path adds LinuxKit to the tables
	@deploy/packages.sh $(BENCH_PACKAGES) || true # it said which
	go run ./bench -kiln bin/kiln $(if $(LINUXKIT),-linuxkit $(LINUXKIT)) -json build/bench.json

proto: ## generate the Go code of proto/kiln/v1
	@deploy/packages.sh protobuf-compiler
	GOBIN=$(CURDIR)/bin go install $(PROTOC_GEN_GO)
	GOBIN=$(CURDIR)/bin go install $(PROTOC_GEN_CONNECT)
	PATH=$(CURDIR)/bin:$$PATH protoc -I proto --go_out=. --go_opt=module=github.com/kiln-farm/kiln \
	  --connect-go_out=. --connect-go_opt=module=github.com/kiln-farm/kiln proto/kiln/v1/*.proto

clean: ## remove bin and build
	rm -rf bin build
