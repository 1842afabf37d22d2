#!/usr/bin/env bash
# Ten services under guard: time from `ward up` to the first answer through the gateway, and memory of Ward's processes. The service is any HTTP server
# that takes "-port N"; here go-httpbin ($HTTPBIN, from go install github.com/mccutchen/go-httpbin/v2/cmd/go-httpbin@v2.26.0).
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
go build -o "$dir/ward" ./cmd/ward
export WARD_KEY_FILE=$dir/key
{
  printf 'app: ten\ngateway: {listen: "127.0.0.1:18449"}\nservices:\n'
  for i in $(seq 10); do
    printf '  s%d:\n    run: [%s, -host, 0.0.0.0, -port, "8080"]\n    runtime: go\n    listen: http://:8080\n    ready: GET /get\n' "$i" "$HTTPBIN"
    [ "$i" = 1 ] && printf '    expose: {route: "GET /**", to: anyone}\n'
    [ "$i" = 10 ] || printf '    calls: {s%d: GET /get}\n' $((i + 1))
  done
} > "$dir/ward.yaml"
now() { date +%s%3N; }
for _ in 1 2 3; do
  began=$(now)
  for i in $(seq 10); do "$HTTPBIN" -host 127.0.0.1 -port $((18450 + i)) >/dev/null 2>&1 & done
  for i in $(seq 10); do until curl -s -m 1 -o /dev/null "http://127.0.0.1:$((18450 + i))/get"; do sleep 0.005; done; done
  echo "ten plain processes, all answering: $(($(now) - began)) ms"
  kill $(jobs -p); wait
  rm -rf "$dir/.ward"
  began=$(now)
  "$dir/ward" up -f "$dir/ward.yaml" > "$dir/log" 2>&1 &
  until curl -sk -m 1 -o /dev/null https://localhost:18449/get; do sleep 0.005; done
  echo "ward: first answer through the gateway: $(($(now) - began)) ms"
  until grep -q 'ready in' "$dir/log"; do sleep 0.02; done
  echo "ward: all ten ready: $(grep -o 'ready in [^:]*' "$dir/log")"
  "$dir/ward" status -f "$dir/ward.yaml" --json | python3 -c '
import glob, json, sys
def kids(p): return [int(x) for f in glob.glob("/proc/%d/task/*/children" % p) for x in open(f).read().split()]
def kib(p, f, k): return int([l for l in open("/proc/%d/%s" % (p, f)) if l.startswith(k)][0].split()[1])
st = json.load(sys.stdin)
roles = [(r["name"], kids(r["pid"])[0]) for r in st["roles"]]
print("ward: RSS", ", ".join("%s %.0f MiB" % (n, kib(p, "status", "VmRSS") / 1024) for n, p in roles), "= %.0f MiB" % (sum(kib(p, "status", "VmRSS") for _, p in roles) / 1024))
inits = [s["pid"] for s in st["services"]] + [r["pid"] for r in st["roles"]]
print("ward: private memory of the supervisor and %d sandbox inits: %.0f MiB" % (len(inits), (kib(st["pid"], "status", "RssAnon") + sum(kib(p, "status", "RssAnon") for p in inits)) / 1024))'
  "$dir/ward" down -f "$dir/ward.yaml"
  wait
done
