package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// Job is one command that builds or tests what others wrote. It sees the system's programs and its own folders, and nothing of
// the user's: no home, no environment, no sockets.
type Job struct {
	Name string
	Argv []string
	Dir  string   // inside
	Env  []string // the whole environment, "K=V"
	// Read and Write map paths inside to folders of the host. What is in a folder of Write may be executed too.
	Read, Write map[string]string
	// Programs are further folders of the host, shown at their own path, that may be executed: a toolchain.
	Programs []string
	// Reach are the only places outside that it can connect to, "host:port" each. Bytes are passed through, by us.
	Reach       []string
	MemoryBytes int64
	PIDs        int
	Output      io.Writer // standard output and error; a write that fails ends nothing
}

// jobUID is who runs jobs where Ward is root.
const jobUID = FirstUID + 900

// JobHost is where jobs of this process run, with their files below base: as a user of their own where Ward is root, as this one otherwise.
func JobHost(base string) Host {
	h := Host{Base: base, UID: os.Getuid(), GID: os.Getgid()}
	if h.UID == 0 {
		h.Root, h.UID, h.GID = true, jobUID, jobUID
	}
	return h
}

// maxConnections is how many a job may have open at once.
const maxConnections = 256

// private are files of the system's that may hold credentials.
var private = []string{"/usr/etc", "/usr/local/etc"}

// PrepareJob derives the spec of a job's sandbox.
func PrepareJob(j Job, h Host) (spec.Spec, error) {
	b := &builder{host: h, spec: spec.Spec{
		Name: "job", UID: h.UID, GID: h.GID, HostRoot: h.Root, Off: h.Off, Hide: private,
		Argv: j.Argv, Dir: j.Dir, Env: j.Env,
		Limits: spec.Limits{MemoryBytes: j.MemoryBytes, PIDs: orDefault(j.PIDs, defaultPIDs), OpenFiles: defaultOpenFiles},
	}}
	for _, p := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64"} {
		b.show(p)
		b.spec.Execs = append(b.spec.Execs, p)
	}
	b.system()
	for _, p := range j.Programs {
		if err := tooWide(p); err != nil && p != "/usr" {
			return spec.Spec{}, fmt.Errorf("job %s: %w", j.Name, err)
		}
		if !b.covered(p) {
			b.show(p)
		}
		b.spec.Execs = append(b.spec.Execs, p)
	}
	for _, all := range []struct {
		folders map[string]string
		write   bool
	}{{j.Read, false}, {j.Write, true}} {
		for _, inside := range slices.Sorted(maps.Keys(all.folders)) {
			if err := b.folder(Folder{Host: all.folders[inside], Inside: inside, Write: all.write}); err != nil {
				return spec.Spec{}, fmt.Errorf("job %s: %w", j.Name, err)
			}
			if all.write {
				b.spec.Mounts[len(b.spec.Mounts)-1].Exec = true
				b.spec.Execs = append(b.spec.Execs, inside)
			}
		}
	}
	if err := b.reach(j.Reach); err != nil {
		return spec.Spec{}, fmt.Errorf("job %s: %w", j.Name, err)
	}
	b.spec.Alone = len(j.Reach) == 0
	exe, err := program(j)
	if err != nil {
		return spec.Spec{}, err
	}
	b.spec.Exe = exe
	return b.spec, nil
}

// program finds a job's command in its own PATH.
func program(j Job) (string, error) {
	path := ""
	for _, e := range j.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if p := filepath.Join(dir, j.Argv[0]); filepath.IsAbs(p) && executable(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("job %s: %s is not in its PATH", j.Name, j.Argv[0])
}

// reach gives each place a listener on an address of its own, and a name.
func (b *builder) reach(places []string) error {
	b.spec.Names = []spec.Name{{IP: "127.0.0.1", Hosts: []string{"localhost", "job"}}}
	ips := map[string]string{}
	for _, place := range places {
		host, port, err := net.SplitHostPort(place)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil {
			return fmt.Errorf("%q is no place to reach", place)
		}
		ip, ok := ips[host]
		if a, err := netip.ParseAddr(host); err == nil && !ok {
			if !a.Is4() || !a.IsLoopback() {
				return fmt.Errorf("%s can't be reached from a sandbox: give it a name", host)
			}
			ip = host
		} else if !ok {
			ip = fmt.Sprintf("127.77.0.%d", len(ips)+1)
			b.spec.Names = append(b.spec.Names, spec.Name{IP: ip, Hosts: []string{host}})
		}
		if ips[host] = ip; len(ips) > 200 {
			return errors.New("too many places to reach")
		}
		b.spec.Upstream = append(b.spec.Upstream, spec.Address{IP: ip, Port: int(n)})
	}
	var text strings.Builder
	for _, n := range b.spec.Names {
		fmt.Fprintf(&text, "%s %s\n", n.IP, strings.Join(n.Hosts, " "))
	}
	b.spec.Files = append(b.spec.Files, spec.File{Path: "/etc/hosts", Text: text.String()})
	return nil
}

// RunJob runs a job to its end; ctx ends it before. The error tells that it couldn't be run, Exit how it ended.
func (l *Launcher) RunJob(ctx context.Context, j Job, h Host) (Exit, error) {
	return l.RunJobApart(ctx, j, h, nil)
}

// RunJobApart is RunJob, with the standard error for errs instead of the job's Output.
func (l *Launcher) RunJobApart(ctx context.Context, j Job, h Host, errs io.Writer) (Exit, error) {
	s, err := PrepareJob(j, h)
	if err != nil {
		return Exit{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return Exit{}, fmt.Errorf("run job: %w", err)
	}
	defer r.Close()
	r2, w2, err := os.Pipe()
	if err != nil {
		w.Close()
		return Exit{}, fmt.Errorf("run job: %w", err)
	}
	defer r2.Close()
	c := Config{Spec: s, Stdout: w, Stderr: w, CgroupName: "job-" + j.Name}
	if errs != nil {
		c.Stderr = w2
	}
	box, err := l.Start(ctx, c)
	w.Close()
	w2.Close()
	if err != nil {
		return Exit{}, err
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { drain(j.Output, r) })
	if errs != nil {
		all.Go(func() { drain(errs, r2) })
	}
	inside, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, f := range box.Listeners {
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			box.Kill()
			<-box.Done()
			return Exit{}, fmt.Errorf("run job: %w", err)
		}
		all.Go(func() { passThrough(inside, ln, j.Reach[i]) })
	}
	if err := box.Run(); err != nil {
		box.Kill()
		<-box.Done()
		return Exit{}, err
	}
	stop := context.AfterFunc(ctx, box.Kill)
	defer stop()
	<-box.Done()
	exit, why := box.Exit()
	switch {
	case ctx.Err() != nil:
		return exit, fmt.Errorf("run job %s: %w", j.Name, ctx.Err())
	case why != "" && exit.Code == 125:
		return exit, fmt.Errorf("run job %s: %s", j.Name, why)
	}
	return exit, nil
}

// drain passes on what a job writes, and goes on reading where nobody takes it any more: the job must not stand still.
func drain(to io.Writer, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// passThrough connects what comes to a listener with one place, until ctx ends.
func passThrough(ctx context.Context, ln net.Listener, place string) {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			up, err := connectTo(ctx, http.ProxyFromEnvironment, place)
			if err != nil {
				return
			}
			defer up.Close()
			stop := context.AfterFunc(ctx, func() { c.Close(); up.Close() })
			defer stop()
			var back sync.WaitGroup
			back.Go(func() { copyHalf(c, up) })
			copyHalf(up, c)
			back.Wait()
		})
	}
}

// dialer reaches what a job may: whoever steers names must not lead us to the cloud's metadata.
func dialer() *net.Dialer { return &net.Dialer{Timeout: 20 * time.Second, Control: refuseLinkLocal} }

// copyHalf passes one direction on, and its end.
func copyHalf(to, from net.Conn) {
	_, _ = io.Copy(to, from)                               // either end may go at any time
	if t, ok := to.(interface{ CloseWrite() error }); ok { // TCP's, and TLS's to a proxy
		_ = t.CloseWrite()
	}
}

func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || a.Addr().Unmap().IsLinkLocalUnicast() {
		return fmt.Errorf("%s may not be reached from a job", address)
	}
	return nil
}
