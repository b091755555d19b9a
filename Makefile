VERSION = $(shell git describe --tags --always --dirty)
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Packages below testdata are not part of "./...".
ALL = ./... ./testdata/suite ./testdata/bench

OUT = bin

build: ## one static binary, bin/hostler
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(OUT)/hostler ./cmd/hostler

deb: build ## a Debian package, bin/hostler.deb; with GOARCH=arm64 for that architecture
	examples/debian/build.sh $(OUT)/hostler $(VERSION) $(OUT)/hostler.deb $$(go env GOARCH)

image: build ## a container image, localhost/hostler
	examples/container/context.sh $(OUT)/hostler $(OUT)/image
	buildah build --file examples/container/Containerfile --tag hostler $(OUT)/image

install: ## what the tests need: Debian packages, a kernel to boot; nothing when all is there
	testdata/lab/install.sh test

lint:
	test -z "$$(gofmt -l cmd docs examples reconcile render servers spec testdata | tee /dev/stderr)"
	go vet $(ALL)
	$(STATICCHECK) -checks all $(ALL)

test: install lint ## everything, with the race detector, virtual machines and a moment of fuzzing
	go run ./testdata/suite

soak: install ## hours of what "make test" does for a moment: crashes, power cuts, commits, exchanges, flaps, a storm, fuzzing
	testdata/suite/soak.sh

fuzz:
	go run ./testdata/suite -only-fuzz -fuzz 1m

bench: build ## hostler beside its peers, some 20 minutes, as root; with ONLY=dhcp,tftp for parts
	testdata/lab/install.sh bench
	go run ./testdata/bench -hostler $(OUT)/hostler -dir $(OUT) -only "$(ONLY)"

demo: build ## a commit boots two real machines, one with BIOS and one with UEFI
	testdata/lab/install.sh demo
	go build -o bin/demo ./examples/demo
	@bin/demo

.PHONY: build deb image install lint test soak fuzz bench demo
