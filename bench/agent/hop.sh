#!/usr/bin/env bash
# The cost of one guarded hop: wrk in a sandbox → agent (both ends decided, counted) → nginx in a sandbox, beside plain proxy hops of
# nginx and Caddy on the host, alternating. Needs wrk, nginx, python3 and Caddy ($CADDY). Prints CPU per request of the proxy, and the
# median latency with one connection. Usage: CADDY=$(command -v caddy) bench/agent/hop.sh [rounds] [seconds]
set -euo pipefail
rounds=${1:-3} secs=${2:-6}
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
go build -o "$dir/ward" ./cmd/ward
mkdir -p "$dir/up" "$dir/load"
body=$(head -c 1024 /dev/zero | tr '\0' x)
temp="client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;"
head="daemon off; error_log stderr crit; worker_processes 1; events { worker_connections 512; }"
echo "$head pid /tmp/up.pid; http { access_log off; keepalive_requests 10000000; $temp server { listen 8080; location / { return 200 \"$body\"; } } }" > "$dir/up/guarded.conf"
echo "$head pid $dir/u.pid; http { access_log off; keepalive_requests 10000000; server { listen 127.0.0.1:18190; location / { return 200 \"$body\"; } } }" > "$dir/u.conf"
echo "$head pid $dir/p.pid; http { access_log off; keepalive_requests 10000000; upstream u { server 127.0.0.1:18190; keepalive 128; keepalive_requests 10000000; }
  server { listen 127.0.0.1:18191; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; } } }" > "$dir/p.conf"
printf '{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:18192 {\n reverse_proxy 127.0.0.1:18190\n}\n' > "$dir/Caddyfile"
nginx -c "$dir/u.conf" & nginx -c "$dir/p.conf" & nginx_pid=$!
HOME=$dir "$CADDY" run --config "$dir/Caddyfile" >/dev/null 2>&1 & caddy_pid=$!
sleep 1.5
ticks() { awk '{print $14+$15}' "/proc/$1/stat"; }
child() { cat /proc/"$1"/task/*/children | awk '{print $1}'; }
report() { # name, requests, ticks, wrk's output
  echo "$1: $(($3 * 10000 / $2)) µs CPU per request, $2 requests,$(grep -h '50%' <<<"$4" | sed 's/.*50%/ median/')"
}
plain() { # name, pid, port, connections
  local a b out
  a=$(ticks "$2"); out=$(wrk -t1 -c"$4" -d"${secs}s" --latency "http://127.0.0.1:$3/books/1"); b=$(ticks "$2")
  report "$1 -c$4" "$(awk '/requests in/{print $1}' <<<"$out")" $((b - a)) "$out"
}
guarded() { # connections
  rm -rf "$dir/.ward"
  cat > "$dir/ward.yaml" <<Y
app: hop
gateway: {listen: "127.0.0.1:18193"}
services:
  loader:
    run: [wrk, -t1, -c$1, -d${secs}s, --latency, "http://up:8080/books/1"]
    workdir: load
    restart: never
    calls: {up: GET /books/**}
  up:
    run: [nginx, -c, $dir/up/guarded.conf, -p, /tmp]
    workdir: up
    listen: http://:8080
Y
  WARD_KEY_FILE=$dir/key "$dir/ward" up -f "$dir/ward.yaml" > "$dir/log" 2>&1 &
  local up=$! agent="" a b
  until agent=$("$dir/ward" status -f "$dir/ward.yaml" --json 2>/dev/null | python3 -c 'import json,sys; print([r["pid"] for r in json.load(sys.stdin)["roles"] if r["name"]=="agent"][0])' 2>/dev/null); do sleep 0.02; done
  agent=$(child "$agent"); a=$(ticks "$agent")
  until grep -q 'requests in' "$dir/log"; do sleep 0.1; done
  b=$(ticks "$agent")
  report "ward -c$1" "$(awk '/requests in/{print $3}' "$dir/log")" $((b - a)) "$(cat "$dir/log")"
  "$dir/ward" down -f "$dir/ward.yaml"; wait "$up" || true
}
for _ in $(seq "$rounds"); do
  plain nginx "$(child "$nginx_pid")" 18191 64
  plain caddy "$caddy_pid" 18192 64
  guarded 64
done
plain 'no proxy' "$(child "$(cat "$dir/u.pid")")" 18190 1
plain nginx "$(child "$nginx_pid")" 18191 1
plain caddy "$caddy_pid" 18192 1
guarded 1
