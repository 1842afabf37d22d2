package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wardhq/ward/internal/base/proc"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// partsModel guards programs that others wrote, as Debian ships them. All of the HTTP ones listen on 8080.
const partsModel = `
app: parts
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  front:
    run: [nginx, -c, {{dir}}/nginx/nginx.conf, -p, /tmp]
    workdir: nginx
    listen: http://:8080
    expose: {route: GET /**, to: anyone}
    calls: {node: GET /**, python: GET /**}
  node:
    run: [node, server.js]
    workdir: node
    runtime: node
    listen: http://:8080
    calls: {redis: tcp}
  python:
    run: [python3, server.py]
    workdir: python
    runtime: python
    listen: http://:8080
    calls: {db: tcp, java: GET /**}
  java:
    run: [java, -Xmx64m, Server.java]
    workdir: java
    runtime: jvm
    listen: http://:8080
  redis:
    run: [redis-server, --save, "", --dir, /tmp, --protected-mode, "no"]
    workdir: redis
    listen: tcp://:6379
  db:
    run: ["{{postgres}}", -D, {{dir}}/db/data, -k, /tmp, -c, "listen_addresses=*"]
    workdir: db
    files: {write: [db/data]}
    listen: tcp://:5432
`

var partsFiles = map[string]string{
	"nginx/nginx.conf": `
daemon off; pid /tmp/nginx.pid; error_log stderr warn;
events { worker_connections 128; }
http {
  access_log off;
  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  server {
    listen 8080;
    location = / { return 200 "nginx answers\n"; }
    location /node/ { proxy_pass http://node:8080/; proxy_http_version 1.1; }
    location /python/ { proxy_pass http://python:8080/; proxy_http_version 1.1; }
  }
}`,
	"node/server.js": `
const http = require('http'), net = require('net');
http.createServer((q, r) => {
  if (q.url != '/redis') return r.end('node answers ' + q.headers['x-ward-caller'] + '\n');
  const c = net.connect(6379, 'redis', () => c.write('PING\r\n'));
  c.on('data', d => { r.end('redis answers ' + d); c.end(); });
  c.on('error', e => { r.statusCode = 502; r.end(String(e)); });
}).listen(8080);`,
	"python/server.py": `
import http.server, socket, struct, urllib.request
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/db":
            # PostgreSQL's start-up message; an R (authentication) comes back.
            s = socket.create_connection(("db", 5432)); b = b"user\0app\0database\0postgres\0\0"
            s.sendall(struct.pack("!ii", len(b) + 8, 196608) + b); text = "db answers " + s.recv(1).decode()
        elif self.path == "/java": text = urllib.request.urlopen("http://java:8080/x").read().decode()
        else: text = "python answers"
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers(); self.wfile.write(text.encode())
http.server.ThreadingHTTPServer(("", 8080), H).serve_forever()`,
	"java/Server.java": `
import com.sun.net.httpserver.*; import java.net.*;
public class Server { public static void main(String[] a) throws Exception {
  HttpServer s = HttpServer.create(new InetSocketAddress(8080), 0);
  s.createContext("/", e -> { byte[] b = "java answers".getBytes(); e.sendResponseHeaders(200, b.length); e.getResponseBody().write(b); e.close(); });
  s.start(); } }`,
	"redis/.keep": "", "db/.keep": "",
}

func TestProgramsOfOthersRunUnchanged(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"nginx", "node", "python3", "java", "redis-server"} {
		need.Program(t, p)
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(bins) == 0 {
		need.Missing(t, "Debian's PostgreSQL isn't installed")
	}
	w := wardtest.Start(t, strings.ReplaceAll(partsModel, "{{postgres}}", bins[0]), func(c *up.Config) { writeParts(t, filepath.Dir(c.File), bins[0], "-A", "trust") })
	for path, want := range map[string]string{
		"/": "nginx answers", "/node/": "node answers spiffe://parts.internal/svc/front", "/node/redis": "redis answers +PONG",
		"/python/": "python answers", "/python/db": "db answers R", "/python/java": "java answers",
	} {
		resp, err := wardtest.Client().Get(w.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %d %.200q %v, want %q", path, resp.StatusCode, b, err, want)
		}
	}
	for _, x := range w.Status().Services { // which would be a finding, see TestAConnectionPastWardIsFound
		if n, err := proc.NoRoutes(x.PID); n != 0 || err != nil {
			t.Errorf("%s looked for %d addresses past Ward: %v", x.Service, n, err)
		}
	}
	if _, out, _ := say("audit", "--kind", "flag", "-f", w.File); strings.Contains(out, "flag.") {
		t.Errorf("what they do when they start is a sign of intrusion:\n%s", out)
	}
}

// writeParts writes the parts' files, and makes a database, as initdb is told.
func writeParts(t *testing.T, dir, postgres string, options ...string) {
	t.Helper()
	for name, text := range partsFiles {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	options = append([]string{"-D", filepath.Join(dir, "db/data"), "-U", "app"}, options...)
	initdb := exec.Command(filepath.Join(filepath.Dir(postgres), "initdb"), options...)
	if os.Getuid() == 0 {
		// initdb won't run as root. The sandbox shows the folder under the service's own user all the same.
		const nobody = 65534
		if err := os.Chown(filepath.Join(dir, "db"), nobody, nobody); err != nil {
			t.Fatal(err)
		}
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		initdb.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		initdb.Dir = dir
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
}
