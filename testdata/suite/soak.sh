#!/usr/bin/env bash
# make soak: what "make test" does for a moment, for hours. Everything is bounded in count; SCALE divides the counts, for a shorter run.
set -euo pipefail
cd "$(dirname "$0")/../.."
scale=${SCALE:-1}
soak() { # NAME TIMEOUT FLAG...
	echo "== $1 ${*:3}"
	go test -count=1 -timeout="$2" -v -run="^$1\$" ./cmd/hostler "${@:3}" | grep -v '^=== '
}
soak TestKill 12h -kill-rounds=$((10000 / scale))
soak TestPowerCut 8h -power-cuts=$((200 / scale + 2))
soak TestSoakCommits 2h -soak-commits=$((5000 / scale))
soak TestSoakExchanges 6h -soak-exchanges=$((3000000 / scale))
soak TestInterfaceFlaps 2h -flaps=$((2000 / scale))
go test -count=1 -timeout=2h -run='^$' -bench='^BenchmarkStorm$' -benchtime=1x ./cmd/hostler -storm-machines=$((10000 / scale))
go run ./testdata/suite -only-fuzz -fuzz $((600 / scale + 1))s
