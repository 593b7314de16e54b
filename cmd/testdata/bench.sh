#!/usr/bin/env bash
# Runs the benchmarks whose names match $1 and says on what machine, when and on
# which commit. Compare two runs by ratio, on one machine, in one sitting.
set -euo pipefail
cd "$(dirname "$0")/../.."
printf 'machine: %s, %s cores, %s MB\n' \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"
printf 'date:    %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
printf 'commit:  %s%s\n\n' "$(git rev-parse --short HEAD)" "$(git diff --quiet HEAD || echo ' and uncommitted changes')"
mapfile -t packages < <(git grep -lE '^func Benchmark' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')
exec go test -run '^$' -bench "${1:-.}" -benchtime "${BENCHTIME:-1s}" -benchmem -timeout 30m "${packages[@]}"
