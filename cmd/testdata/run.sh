#!/usr/bin/env bash
# The main job working: a one-node cluster, a job file, its events, its
# allocations, its output. Usage: run.sh path/to/drover
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
drover=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
dir=$(mktemp -d "${TMPDIR:-/tmp}/drover-run-XXXXXX")
agent=
finish() {
  trap - EXIT INT TERM
  if [ -n "$agent" ] && kill -0 "$agent" 2>/dev/null; then
    printf '\n==> Stopping the agent and everything that it runs\n'
    kill -INT "$agent" 2>/dev/null || true
    wait "$agent" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap finish EXIT
trap 'finish; exit 0' INT TERM

say() { printf '\n==> %s\n' "$*"; }
show() { printf '\n$ %s\n' "$*"; "${@/#drover/$drover}"; }

# Ports that are free here; the usual ones when they are.
port=${DROVER_RUN_PORT:-4646}
export DROVER_ADDR="http://127.0.0.1:$port"
cat >"$dir/agent.hcl" <<HCL
log_level = "INFO"
leave_on_interrupt = true
ports {
  http = $port
  rpc  = $((port + 1))
  serf = $((port + 2))
  raft = $((port + 3))
}
HCL

say "Starting a one-node cluster: $drover agent -dev"
"$drover" agent -dev -config "$dir/agent.hcl" >"$dir/agent.log" 2>&1 &
agent=$!
for _ in $(seq 1 200); do
  "$drover" node status 2>/dev/null | grep -q ' ready$' && break
  kill -0 "$agent" 2>/dev/null || { cat "$dir/agent.log"; agent=; exit 1; }
  sleep 0.05
done
show drover node status

say 'Submitting testdata/jobs/hello.nomad.hcl'
show drover job run "$top/testdata/jobs/hello.nomad.hcl"

say 'What happened, from the first record on: the log is the cluster'
show drover event stream -no-follow

say 'What is'
for _ in $(seq 1 100); do
  [ "$("$drover" job status hello | grep -c ' running ')" -ge 2 ] && break
  sleep 0.05
done
show drover job status hello
alloc=$("$drover" job status hello | awk '/^Allocations/ {seen = 1; next} seen && $6 == "running" {print $1; exit}')
show drover alloc status -short "$alloc"
for _ in $(seq 1 100); do
  [ -n "$("$drover" alloc logs "$alloc" 2>/dev/null)" ] && break
  sleep 0.05
done
show drover alloc logs "$alloc"
show drover event verify

cat <<EOT

==> It runs. In another terminal, try:

  export DROVER_ADDR=$DROVER_ADDR
  $drover alloc logs -f $alloc          # follow its output
  $drover event stream                  # follow the log
  $drover job run $top/testdata/jobs/batch.nomad.hcl
  $drover job run $top/testdata/jobs/too-big.nomad.hcl    # why something cannot be placed
  $drover job stop hello

==> Ctrl-C ends it all.
EOT
if [ -n "${DROVER_RUN_ONCE:-}" ]; then exit 0; fi
wait "$agent"
