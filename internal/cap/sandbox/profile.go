package sandbox

import (
	"bufio"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/names"
	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Host is what of this machine a service's sandbox depends on.
type Host struct {
	Base string // the folder of ward.yaml, absolute
	Path string // PATH to look programs up in
	// Hide are paths that no service may see, although its workdir may hold them: Ward's state, and
	// ward.yaml with the other services' environment.
	Hide []string
	// WorkloadDir is a folder with the service's own Workload API socket
	// ("workload.sock"), shown at /run/ward; "" for none.
	WorkloadDir string
	// UID and GID to run as: our own, or as root one of the service's own.
	UID, GID int
	Root     bool
	Off      Off
	// Write are the paths that any service of the plan may write, absolute.
	Write []string
}

// FirstUID is the first of the user IDs that services run as when Ward is root; no
// distribution hands these out.
const FirstUID = 0x70000000

// Where the Workload API is inside (SPIFFE Workload Endpoint §4).
const workloadInside = "/run/ward"

// Defaults of limits that the model leaves open.
const (
	defaultPIDs      = 512
	defaultOpenFiles = 8192
)

// Prepare derives the spec of a service's sandbox from its plan: what it may see, execute, write and
// dial. It looks at the host's files, and changes nothing.
func Prepare(s *plan.Service, h Host) (spec.Spec, error) {
	b := &builder{host: h, spec: spec.Spec{
		Name: string(s.Name), UID: h.UID, GID: h.GID, HostRoot: h.Root, Off: h.Off,
		Argv: slices.Clone(s.Run), Hide: h.Hide, Secrets: len(s.Secrets) > 0, Watched: true,
		Limits: spec.Limits{
			MemoryBytes: s.Limits.MemoryBytes,
			PIDs:        orDefault(s.Limits.PIDs, defaultPIDs),
			OpenFiles:   orDefault(s.Limits.OpenFiles, defaultOpenFiles),
		},
	}}
	b.rememberWritable(s)
	if err := b.workdir(s.Workdir); err != nil {
		return spec.Spec{}, fmt.Errorf("service %s: %w", s.Name, err)
	}
	b.system()
	if err := b.program(s); err != nil {
		return spec.Spec{}, fmt.Errorf("service %s: %w", s.Name, err)
	}
	if err := b.files(s.Files); err != nil {
		return spec.Spec{}, fmt.Errorf("service %s: %w", s.Name, err)
	}
	b.network(s)
	b.environment(s)
	return b.spec, nil
}

func orDefault(v, d int) int {
	if v > 0 {
		return v
	}
	return d
}

type builder struct {
	host    Host
	spec    spec.Spec
	write   []string // folders that services may write, without symbolic links
	entries int      // shown one by one so far
}

func (b *builder) rememberWritable(s *plan.Service) {
	all := slices.Clone(b.host.Write)
	for _, p := range s.Files.Write {
		all = append(all, b.absolute(p.Path))
	}
	for _, p := range all {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			b.write = append(b.write, real)
		}
	}
}

func (b *builder) mount(m spec.Mount) {
	if i := slices.IndexFunc(b.spec.Mounts, func(o spec.Mount) bool { return o.Target == m.Target }); i >= 0 {
		b.spec.Mounts[i].Write = b.spec.Mounts[i].Write || m.Write
		return
	}
	b.spec.Mounts = append(b.spec.Mounts, m)
}

// show makes a system path visible read-only, if the host has it.
func (b *builder) show(path string) {
	st, err := os.Lstat(path)
	if err != nil {
		return
	}
	if st.Mode()&os.ModeSymlink == 0 {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			b.mount(spec.Mount{Source: real, Target: path, Optional: true, OwnerUID: -1, OwnerGID: -1})
		}
		return
	}
	// /lib → usr/lib: the link is made anew; a link into /etc/alternatives or the like is followed.
	to, err := os.Readlink(path)
	if err == nil && !filepath.IsAbs(to) && strings.HasPrefix(to, "usr/") {
		b.spec.Links = append(b.spec.Links, spec.Link{Path: path, To: to})
		return
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		b.mount(spec.Mount{Source: real, Target: path, Optional: true, OwnerUID: -1, OwnerGID: -1})
	}
}

func (b *builder) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(b.host.Base, path)
}

func (b *builder) workdir(dir string) error {
	path := b.absolute(dir)
	real, err := b.resolve(path)
	if err == nil {
		err = tooWide(real)
	}
	if err != nil {
		return fmt.Errorf("workdir %s: %w", dir, err)
	}
	b.spec.Dir = real
	return b.own(path, false)
}

// system shows what nearly every program of this machine needs: libraries,
// time zones, certificates; and a few files in /etc made for the sandbox.
func (b *builder) system() {
	for _, p := range []string{
		"/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64",
		"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
		"/etc/pki/tls/certs", "/etc/alternatives", "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
		"/usr/share/locale", "/etc/mime.types",
	} {
		b.show(p)
	}
	uid, gid := b.host.UID, b.host.GID
	b.spec.Files = append(b.spec.Files,
		spec.File{Path: "/etc/passwd", Text: fmt.Sprintf("svc:x:%d:%d:service:/tmp:/usr/sbin/nologin\n", uid, gid)},
		spec.File{Path: "/etc/group", Text: fmt.Sprintf("svc:x:%d:\n", gid)},
		spec.File{Path: "/etc/resolv.conf", Text: "nameserver " + names.Server + "\noptions timeout:1 attempts:2\n"},
		spec.File{Path: "/etc/nsswitch.conf", Text: "passwd: files\ngroup: files\nhosts: files dns\n"},
		spec.File{Path: "/etc/protocols", Text: "tcp 6 TCP\nudp 17 UDP\n"},
		spec.File{Path: "/etc/services", Text: "http 80/tcp\nhttps 443/tcp\n"},
	)
}

// program finds what Run[0] really executes and lets only that be executed.
func (b *builder) program(s *plan.Service) error {
	path, err := b.lookUp(s.Run[0])
	if err != nil {
		return err
	}
	if err := b.allowExec(path, 0); err != nil {
		return err
	}
	// The real path: programs look for their libraries and data beside it. They see the name in argv[0].
	if b.spec.Exe, err = b.resolve(path); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	b.shareOf(b.spec.Exe)
	b.spec.ExecTmp = s.Runtime == model.RuntimeJVM
	for _, name := range runtimePrograms[s.Runtime] {
		p, err := b.lookUp(name)
		if err != nil {
			continue // run: names the program by another path
		}
		if err := b.allowExec(p, 0); err != nil {
			return err
		}
	}
	for _, p := range runtimePaths[s.Runtime] {
		b.show(p)
	}
	return nil
}

// shareOf shows a program's read-only data: /usr/share/nginx for nginx, /usr/share/postgresql for
// what lives in /usr/lib/postgresql.
func (b *builder) shareOf(exe string) {
	b.show(filepath.Join("/usr/share", filepath.Base(exe)))
	if rest, ok := strings.CutPrefix(exe, "/usr/lib/"); ok {
		name, _, _ := strings.Cut(rest, "/")
		b.show(filepath.Join("/usr/share", name))
	}
}

// runtimePrograms may be executed besides Run[0].
var runtimePrograms = map[model.Runtime][]string{
	model.RuntimeNode:   {"node"},
	model.RuntimePython: {"python3"},
	model.RuntimeJVM:    {"java"},
}

// runtimePaths are further folders that a runtime reads.
var runtimePaths = map[model.Runtime][]string{
	model.RuntimeNode:   {"/usr/share/nodejs", "/usr/share/node_modules", "/usr/include/node"},
	model.RuntimePython: {"/usr/share/python3", "/usr/share/python-wheels", "/etc/python3", "/usr/local/lib/python3"},
	model.RuntimeJVM:    {"/usr/share/java", "/etc/java", "/etc/java-11-openjdk", "/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/java-25-openjdk", "/etc/ssl/certs/java"},
}

// lookUp finds a program as a shell would: relative to the workdir if it holds a slash,
// else in PATH. Version-manager shims (pyenv, rbenv, asdf) are asked what they stand for.
func (b *builder) lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(b.spec.Dir, path)
		}
		if !executable(path) {
			return "", fmt.Errorf("run: %s is not an executable file", path)
		}
		return path, nil
	}
	for _, dir := range filepath.SplitList(b.host.Path) {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(path) || !executable(path) {
			continue
		}
		if filepath.Base(dir) == "shims" {
			if !strings.HasPrefix(name, "python") {
				continue // it runs outside of any sandbox, and only Python is known to answer
			}
			out, err := exec.Command(path, "-c", "import sys; print(sys.executable)").Output()
			if real := strings.TrimSpace(string(out)); err == nil && executable(real) {
				return real, nil
			}
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("run: %s is not in PATH", name)
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// allowExec lets path be executed, with its interpreter: the loader of an ELF
// file, or what the first line of a script names.
func (b *builder) allowExec(path string, depth int) error {
	if depth > 3 {
		return fmt.Errorf("run: %s: interpreters nest too deep", path)
	}
	real, err := b.resolve(path)
	if err == nil {
		err = b.showProgram(path, real)
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if slices.Contains(b.spec.Execs, real) {
		return nil
	}
	b.spec.Execs = append(b.spec.Execs, real)
	f, err := os.Open(real)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	defer f.Close()
	if loader := elfInterpreter(f); loader != "" {
		return b.allowExec(loader, depth+1)
	}
	for _, p := range b.scriptInterpreters(f) {
		if err := b.allowExec(p, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// covered tells whether the sandbox shows the path already.
func (b *builder) covered(path string) bool {
	for _, l := range b.spec.Links {
		if strings.HasPrefix(path, l.Path+"/") {
			return true
		}
	}
	return slices.ContainsFunc(b.spec.Mounts, func(m spec.Mount) bool {
		return path == m.Target || strings.HasPrefix(path, m.Target+"/")
	})
}

func elfInterpreter(f *os.File) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz == 0 || p.Filesz > 4096 {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return ""
		}
		return strings.TrimRight(string(b), "\x00")
	}
	return ""
}

// scriptInterpreters reads "#!interpreter [argument]"; env's argument is a program too.
func (b *builder) scriptInterpreters(f *os.File) []string {
	if _, err := f.Seek(0, 0); err != nil {
		return nil
	}
	line, err := bufio.NewReaderSize(f, 512).ReadString('\n')
	rest, ok := strings.CutPrefix(line, "#!")
	if err != nil || !ok {
		return nil
	}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return nil
	}
	out := []string{words[0]}
	if filepath.Base(words[0]) == "env" && len(words) > 1 {
		if p, err := b.lookUp(words[len(words)-1]); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (b *builder) files(f model.Files) error {
	for _, p := range f.Read {
		if err := b.share(p.Path, false); err != nil {
			return fmt.Errorf("files: read: line %d: %w", p.Pos.Line, err)
		}
	}
	for _, p := range f.Write {
		if err := b.share(p.Path, true); err != nil {
			return fmt.Errorf("files: write: line %d: %w (make the folder first)", p.Pos.Line, err)
		}
	}
	return nil
}

func (b *builder) share(path string, write bool) error {
	path = b.absolute(path)
	if err := b.mayShare(path, write); err != nil {
		return err
	}
	return b.own(path, write)
}

// ListenerOrder is what the listeners of a service's sandbox are for, in their order: its upstreams; then some of them once more on 127.0.0.1, for
// programs that were written for one machine; and what takes the service's own spans.
func ListenerOrder(s *plan.Service) []plan.Upstream {
	all := slices.Clone(s.Upstreams)
	for _, u := range s.Upstreams {
		if u.Localhost {
			u.IP = "127.0.0.1"
			all = append(all, u)
		}
	}
	if takesTraces(s) {
		all = append(all, plan.Upstream{Target: plan.Self, IP: "127.0.0.1", Port: plan.TracesPort, TargetPort: plan.TracesPort, Protocol: model.HTTP})
	}
	return all
}

// takesTraces tells whether the port for spans is free inside: a service may be a collector itself, or call one.
func takesTraces(s *plan.Service) bool {
	return !slices.ContainsFunc(s.Listen, func(l model.Listen) bool { return l.Port == plan.TracesPort }) &&
		!slices.ContainsFunc(s.Upstreams, func(u plan.Upstream) bool { return u.Localhost && u.Port == plan.TracesPort })
}

// tracing is how OpenTelemetry's libraries in a service find the port for spans, and that every request is worth some: which traces are kept shows later,
// and what isn't kept goes no further than the agent. Who has settings of his own for the exporter keeps to them.
func tracing(s *plan.Service) map[string]string {
	if !takesTraces(s) || slices.ContainsFunc(s.Env, func(e model.EnvVar) bool { return strings.HasPrefix(e.Name, "OTEL_EXPORTER_OTLP_") }) {
		return nil
	}
	return map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": fmt.Sprintf("http://127.0.0.1:%d", plan.TracesPort), "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
		"OTEL_SERVICE_NAME": string(s.Name), "OTEL_TRACES_SAMPLER": "always_on", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
	}
}

func (b *builder) network(s *plan.Service) {
	own := []string{"localhost", string(s.Name)}
	hosts := []spec.Name{{IP: "127.0.0.1", Hosts: own}}
	for _, u := range ListenerOrder(s) {
		b.spec.Upstream = append(b.spec.Upstream, spec.Address{IP: u.IP, Port: u.Port})
	}
	for _, u := range s.Upstreams {
		if !slices.ContainsFunc(hosts, func(n spec.Name) bool { return n.IP == u.IP }) {
			hosts = append(hosts, spec.Name{IP: u.IP, Hosts: u.Hosts})
		}
	}
	for _, l := range s.Listen {
		b.spec.Binds = append(b.spec.Binds, l.Port)
	}
	b.spec.Names = hosts
	var text strings.Builder
	for _, n := range hosts {
		fmt.Fprintf(&text, "%s %s\n", n.IP, strings.Join(n.Hosts, " "))
	}
	b.spec.Files = append(b.spec.Files, spec.File{Path: "/etc/hosts", Text: text.String()})
}

// programDirs are the folders of what may be executed, where PATH would not find it: "#!/usr/bin/env python3" looks there.
func (b *builder) programDirs() []string {
	var dirs []string
	for _, p := range b.spec.Execs {
		d := filepath.Dir(p)
		if strings.Contains(filepath.Base(p), "ld-") || slices.Contains(dirs, d) || slices.Contains([]string{"/usr/local/bin", "/usr/bin", "/bin"}, d) {
			continue
		}
		dirs = append(dirs, d)
	}
	return dirs
}

// environment is the model's, and the few variables without which programs stumble; nothing of
// the host's comes along, for it may hold secrets.
func (b *builder) environment(s *plan.Service) {
	env := map[string]string{
		"PATH": strings.Join(append(b.programDirs(), "/usr/local/bin", "/usr/bin", "/bin"), ":"), "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "USER": "svc",
	}
	if b.host.WorkloadDir != "" {
		dir := b.host.WorkloadDir
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		b.mount(spec.Mount{Source: dir, Target: workloadInside, Socket: true, OwnerUID: -1, OwnerGID: -1})
		env["SPIFFE_ENDPOINT_SOCKET"] = "unix://" + workloadInside + "/workload.sock"
	}
	maps.Copy(env, tracing(s))
	for _, e := range s.Env {
		env[e.Name] = e.Value
	}
	for k, v := range env {
		b.spec.Env = append(b.spec.Env, k+"="+v)
	}
	slices.Sort(b.spec.Env)
}
