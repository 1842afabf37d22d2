package trial

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// naked is no sandbox at all: what each attack does where Ward's guards are missing.
type naked struct{}

func (naked) Run(ctx context.Context, j Job) (int, error) {
	host := func(s string) string {
		for _, all := range []map[string]string{j.Read, j.Write} {
			for inside, folder := range all {
				s = strings.ReplaceAll(s, inside, folder)
			}
		}
		return s
	}
	cmd := exec.CommandContext(ctx, j.Argv[0], j.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = host(j.Dir), j.Output, j.Output, os.Environ()
	for _, e := range j.Env {
		cmd.Env = append(cmd.Env, host(e))
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return -1, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// prey is what an attacker would like to have of this machine.
type prey struct {
	Home     string // with .ssh/id, .npmrc and .netrc
	Hooks    string // of the user's repository
	Socket   string // of a daemon
	Outside  string // "ip:port" of a service that listens on all addresses
	Local    string // "127.0.0.1:port"
	Registry string // "127.0.0.1:port"
	PID      int    // of a process of the user's
	Secret   string // in the environment
	Shared   []string
}

func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// listen answers "hello" to whoever connects.
func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			c.Close()
		}
	}()
	return ln
}

// hunt plants prey.
func hunt(t *testing.T, repo, registry string) prey {
	t.Helper()
	home := openDir(t)
	write(t, home, map[string]string{".ssh/id": "key", ".npmrc": "token", ".netrc": "token"})
	socket := filepath.Join(openDir(t), "docker.sock")
	listen(t, "unix", socket)
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WARD_TEST_SECRET", "s3cret")
	outside := listen(t, "tcp4", "0.0.0.0:0").Addr().(*net.TCPAddr)
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	ip := "127.0.0.2" // a machine without any other address
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			ip = n.IP.String()
		}
	}
	return prey{
		Home: home, Hooks: filepath.Join(repo, ".git", "hooks"), Socket: socket, Outside: net.JoinHostPort(ip, strconv.Itoa(outside.Port)),
		Local: listen(t, "tcp4", "127.0.0.1:0").Addr().String(), Registry: strings.TrimPrefix(registry, "http://"), PID: os.Getpid(), Secret: "WARD_TEST_SECRET",
		Shared: []string{"GOMODCACHE", "npm_config_cache"},
	}
}

// attacks is a program for node: it does what it can, and leaves the names of what succeeded in the temporary folder.
const attacks = `
const fs = require("fs"), net = require("net"), path = require("path");
const prey = JSON.parse(process.env.WARD_TEST_PREY || fs.readFileSync(path.join(__dirname, "prey.json"), "utf8"));
const stage = process.argv[2], done = [];
const attempt = (name, f) => { try { if (f() !== false) done.push(name); } catch (e) {} };
for (const f of [".ssh/id", ".npmrc", ".netrc"]) attempt("read ~/" + f, () => fs.readFileSync(path.join(prey.Home, f)));
attempt("plant a git hook", () => fs.writeFileSync(path.join(prey.Hooks, "post-checkout-" + stage), "#!/bin/sh\n"));
attempt("see the user's process", () => process.kill(prey.PID, 0));
attempt("read the environment", () => process.env[prey.Secret] === "s3cret");
for (const v of prey.Shared) if (process.env[v]) attempt("poison " + v, () => fs.writeFileSync(path.join(process.env[v], "poison"), ""));
attempt("find a repository", () => { let d = process.cwd(); while (true) { if (fs.existsSync(path.join(d, ".git"))) return true; if (d === "/") return false; d = path.dirname(d); } });
const dial = (name, o) => new Promise(ok => { const c = net.connect(o, () => { done.push(name); c.destroy(); ok(); }); c.on("error", () => ok()); c.setTimeout(3000, () => { c.destroy(); ok(); }); });
const tcp = s => ({ host: s.split(":")[0], port: +s.split(":")[1] });
Promise.all([dial("daemon's socket", { path: prey.Socket }), dial("another host", tcp(prey.Outside)), dial("a service on loopback", tcp(prey.Local)), dial("the registry", tcp(prey.Registry)), dial("metadata", { host: "169.254.169.254", port: 80 })])
  .then(() => fs.writeFileSync(path.join(process.env.TMPDIR, "done-" + stage + ".json"), JSON.stringify(done)));
`

// succeeded are the attacks of one stage that did.
func succeeded(t *testing.T, a *attempt, stage string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(a.dir, "tmp", "done-"+stage+".json"))
	if err != nil {
		t.Fatalf("%s didn't attack at all: %v", stage, err)
	}
	var out []string
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// metadata is there on some machines only: where it is, it is reached without a guard.
func metadata(s string) bool { return s == "metadata" }

// all are what succeeds without any guard.
var all = []string{"a service on loopback", "another host", "daemon's socket", "plant a git hook", "read the environment", "read ~/.netrc", "read ~/.npmrc", "read ~/.ssh/id", "see the user's process", "the registry"}

// evil is a project of npm whose part attacks when it is installed, and which attacks itself when it is built and tested.
func evil(t *testing.T, box Sandbox) (*Trial, *attempt) {
	t.Helper()
	need.Program(t, "node")
	registry := npmRegistry(t, map[string]map[string]string{
		"evil@1.0.0": {"package.json": `{"name":"evil","version":"1.0.0","scripts":{"preinstall":"node attack.js preinstall","install":"node attack.js install","postinstall":"node attack.js postinstall"}}`, "attack.js": attacks, "index.js": ""},
	})
	c := npmConfig(t, registry, map[string]string{
		"package.json": `{"name":"app","version":"1.0.0","dependencies":{"evil":"^1.0.0"},"scripts":{"build":"node attack.js build","test":"node attack.js test","prepare":"node attack.js prepare"}}`, "attack.js": attacks,
	})
	c.Sandbox, c.Scripts = box, true
	p := hunt(t, c.Repo, strings.TrimSuffix(c.NPM.Registry, "/"))
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	tr := &Trial{config: c, home: openDir(t)}
	if tr.kit, err = newJSKit(c); err != nil {
		t.Fatal(err)
	}
	tr.config.Step, tr.config.MemoryBytes = defaultStep, defaultMemory
	for _, d := range tr.caches() {
		if err := os.Mkdir(filepath.Join(tr.home, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a, err := tr.checkout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tr.before, err = a.carry(); err != nil {
		t.Fatal(err)
	}
	if err := tr.kit.update(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(a.dir, "tmp", "done-*")); len(left) > 0 {
		t.Fatal("code of a part ran while the registry was in reach: ", left)
	}
	for _, d := range []string{".", "node_modules/evil"} {
		write(t, filepath.Join(a.dir, "tree", d), map[string]string{"prey.json": string(b)})
	}
	a.net = false
	return tr, a
}

func attackAll(t *testing.T, tr *Trial, a *attempt) {
	t.Helper()
	if err := tr.kit.build(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.kit.test(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func TestWhatRunsInATrialReachesNothing(t *testing.T) {
	tr, a := evil(t, newBox(t))
	attackAll(t, tr, a)
	for _, stage := range []string{"preinstall", "install", "postinstall", "build", "test"} {
		if got := succeeded(t, a, stage); len(got) > 0 {
			t.Errorf("%s: %v", stage, got)
		}
	}
}

func TestWithoutASandboxEveryAttackSucceeds(t *testing.T) {
	tr, a := evil(t, naked{})
	attackAll(t, tr, a)
	for _, stage := range []string{"preinstall", "install", "postinstall", "build", "test"} {
		got := slices.DeleteFunc(succeeded(t, a, stage), func(s string) bool {
			return s == "find a repository" || s == "metadata" || strings.HasPrefix(s, "poison")
		})
		if d := cmp.Diff(all, got); d != "" {
			t.Errorf("%s: %s", stage, d)
		}
	}
}

func TestEachGuardStopsItsOwnAttack(t *testing.T) {
	box := newBox(t)
	tr, a := evil(t, box)
	text, err := os.ReadFile(filepath.Join(a.dir, "tree", "prey.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p prey
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		off  func(*prey)
		does []string
	}{
		"the host's network":     {func(*prey) { box.host.Off.Network = true }, []string{"a service on loopback", "another host", "the registry"}},
		"a place in reach":       {func(p *prey) { box.change = func(j *sandbox.Job) { j.Reach = []string{p.Local} } }, []string{"a service on loopback"}},
		"a folder of the user's": {func(p *prey) { box.change = func(j *sandbox.Job) { j.Read[p.Home] = p.Home } }, []string{"read ~/.netrc", "read ~/.npmrc", "read ~/.ssh/id"}},
		"the repository":         {func(p *prey) { box.change = func(j *sandbox.Job) { j.Write[p.Hooks] = p.Hooks } }, []string{"plant a git hook"}},
		"the environment": {func(*prey) {
			box.change = func(j *sandbox.Job) { j.Env = append(j.Env, "WARD_TEST_SECRET=s3cret") }
		}, []string{"read the environment"}},
		"the cache": {func(*prey) {
			box.change = func(j *sandbox.Job) {
				j.Write[inNPM] = j.Read[inNPM]
				delete(j.Read, inNPM)
			}
		}, []string{"poison npm_config_cache"}},
	} {
		t.Run(name, func(t *testing.T) {
			box.host.Off, box.change = sandbox.Off{}, nil
			c.off(&p)
			stage := strings.ReplaceAll(name, " ", "-")
			if err := a.run(t.Context(), (&npmKit{tr.config}).env(a), nil, "node", "attack.js", stage); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.does, slices.DeleteFunc(succeeded(t, a, stage), metadata)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFetchingReachesTheRegistryAlone(t *testing.T) {
	tr, a := evil(t, newBox(t))
	a.net = true
	if err := a.run(t.Context(), (&npmKit{tr.config}).env(a), nil, "node", "attack.js", "fetch"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"poison npm_config_cache", "the registry"}, succeeded(t, a, "fetch")); d != "" {
		t.Error(d)
	}
}
