#!/usr/bin/env bash
# Runs the benchmarks whose names match $1, says on what machine, when and on which
# commit, and compares them with the stored baseline (testdata/bench/micro.txt).
#
# Machines differ, so what is compared is how long a benchmark takes in units of
# BenchmarkYardstick of the same run: "ratio 1.20" is 20 % slower than it was
# against the yardstick. A run with BASELINE=1 becomes the new baseline.
set -euo pipefail
cd "$(dirname "$0")/../.."
baseline=testdata/bench/micro.txt
out=$(mktemp)
trap 'rm -f "$out"' EXIT
{
  printf 'machine: %s, %s cores, %s MB\n' \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"
  printf 'date:    %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  printf 'commit:  %s%s\n\n' "$(git rev-parse --short HEAD)" "$(git diff --quiet HEAD || echo ' and uncommitted changes')"
  mapfile -t packages < <(git grep -lE '^func Benchmark' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|' | grep -v '/figures$')
  go test -p 1 -run '^$' -bench "${1:-.}|^BenchmarkYardstick\$" -benchtime "${BENCHTIME:-1s}" -benchmem -timeout 30m "${packages[@]}"
} | tee "$out"
if [ -f "$baseline" ]; then
  printf '\nagainst the baseline of %s, in units of the yardstick of each run:\n' "$(sed -n 's/^commit: *//p' "$baseline")"
  awk '
    /^pkg:/ { pkg = $2; sub(/^drover\//, "", pkg) }
    /^Benchmark/ && $4 == "ns/op" {
      name = $1; sub(/-[0-9]+$/, "", name)
      if (name == "BenchmarkYardstick") unit[FNR == NR] = $3
      else took[FNR == NR, pkg " " name] = $3
      if (FNR != NR && name != "BenchmarkYardstick") order[++n] = pkg " " name
    }
    END {
      if (!unit[0] || !unit[1]) { print "  the yardstick is missing in one of them"; exit }
      for (i = 1; i <= n; i++) if ((1, order[i]) in took)
        printf "  ratio %5.2f  %s\n", (took[0, order[i]] / unit[0]) / (took[1, order[i]] / unit[1]), order[i]
    }' "$baseline" "$out"
fi
if [ -n "${BASELINE:-}" ]; then
  cp "$out" "$baseline"
  printf '\n%s is the baseline now\n' "$baseline"
fi
