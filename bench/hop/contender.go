package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// contender is one proxy, in a process group of its own.
type contender struct {
	name, title string
	addr        string
	args        []string
	files       map[string]string
	cmd         *exec.Cmd
}

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func startUpstream() (*contender, error) {
	c := &contender{name: "upstream", addr: freeAddr()}
	c.args = []string{self(), "role", "upstream", c.addr}
	return c, c.start()
}

func self() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

func contenders(dir, caddy, upstream string) []*contender {
	ward := &contender{name: "ward", title: "Ward engine, both ends decided", addr: freeAddr()}
	ward.args = []string{self(), "role", "ward", ward.addr + "," + upstream}
	std := &contender{name: "std", title: "httputil.ReverseProxy", addr: freeAddr()}
	std.args = []string{self(), "role", "std", std.addr + "," + upstream}

	nginx := &contender{name: "nginx", title: "nginx", addr: freeAddr()}
	conf := filepath.Join(dir, "nginx.conf")
	nginx.args = []string{"nginx", "-e", filepath.Join(dir, "nginx.err"), "-p", dir, "-c", conf}
	nginx.files = map[string]string{conf: fmt.Sprintf(`daemon off; worker_processes %d; pid %s/nginx.pid;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000;
  client_body_temp_path %[2]s/b; proxy_temp_path %[2]s/p; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
  upstream up { server %[3]s; keepalive 64; keepalive_requests 100000000; }
  server { listen %[4]s; location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
`, runtime.NumCPU(), dir, upstream, nginx.addr)}

	haproxy := &contender{name: "haproxy", title: "HAProxy", addr: freeAddr()}
	hconf := filepath.Join(dir, "haproxy.cfg")
	haproxy.args = []string{"haproxy", "-q", "-db", "-f", hconf}
	haproxy.files = map[string]string{hconf: fmt.Sprintf(`global
  nbthread %d
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend f
  bind %s
  default_backend b
backend b
  server s %s
`, runtime.NumCPU(), haproxy.addr, upstream)}

	cad := &contender{name: "caddy", title: "Caddy `reverse_proxy`", addr: freeAddr()}
	cconf := filepath.Join(dir, "Caddyfile")
	cad.args = []string{caddy, "run", "--config", cconf, "--adapter", "caddyfile"}
	_, port, _ := net.SplitHostPort(cad.addr)
	cad.files = map[string]string{cconf: fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n}\nhttp://:%s {\n\treverse_proxy %s\n}\n", port, upstream)}
	return []*contender{ward, std, nginx, haproxy, cad}
}

func (c *contender) start() error {
	for name, text := range c.files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(c.args[0])
	if err != nil {
		return err
	}
	c.cmd = exec.Command(path, c.args[1:]...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", c.addr); err == nil {
			_ = conn.Close()
			return nil
		}
	}
	c.stop()
	return errors.New("it doesn't listen")
}

func (c *contender) stop() {
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGTERM)
	_ = c.cmd.Wait()
}

// processes calls f with the fields of /proc/PID/stat behind the name, and the PID,
// of all processes of the group.
func (c *contender) processes(f func(pid string, stat []string)) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		_, rest, ok := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 13 || fields[2] != strconv.Itoa(c.cmd.Process.Pid) {
			continue
		}
		f(strings.Split(name, "/")[2], fields)
	}
}

// cpuTime is user and system time of all threads of the group. The fields of stat
// count hundredths of a second, which is fine for rounds of seconds.
func (c *contender) cpuTime() time.Duration {
	var ticks int
	c.processes(func(_ string, stat []string) {
		u, _ := strconv.Atoi(stat[11])
		s, _ := strconv.Atoi(stat[12])
		ticks += u + s
	})
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is the resident size of the group in KiB.
func (c *contender) memory() (kib int) {
	c.processes(func(pid string, _ []string) {
		f, err := os.Open("/proc/" + pid + "/status")
		if err != nil {
			return
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if v, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
				n, _ := strconv.Atoi(strings.Fields(v)[0])
				kib += n
			}
		}
	})
	return kib
}

func machine() string {
	return fmt.Sprintf("%d CPUs, %s, %s", runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}
