package up

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/scm"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/sandbox"
	"github.com/wardhq/ward/internal/wire"
)

// How long a role may take to get ready, and the pauses between its restarts.
const (
	roleReadyIn  = 20 * time.Second
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// calm is how long something must run for its back-off to start anew.
	calm = 30 * time.Second
)

// uids of Ward's own processes when Ward is root; services follow after.
var roleUID = map[string]int{"control": 0, "agent": 1, "gateway": 2}

const firstServiceUID = sandbox.FirstUID + 16

// role is one of Ward's own processes, restarted for as long as the supervisor
// runs.
type role struct {
	up      *Supervisor
	name    string
	config  wire.RoleConfig
	key     secret.Bytes // of control's state; empty for the others
	listens []string     // purposes of the sockets that it serves
	folders []sandbox.Folder
	network bool
	onStart func() error       // after each start, before it counts as ready again
	cancel  context.CancelFunc // ends supervise
	ended   chan struct{}

	mu       sync.Mutex
	box      *sandbox.Sandbox // guarded by mu
	conn     *scm.Conn        // guarded by mu
	restarts int              // guarded by mu
}

func (s *Supervisor) newRole(name string, c wire.RoleConfig, listens []string, folders ...sandbox.Folder) *role {
	return &role{up: s, name: name, config: c, listens: listens, folders: folders}
}

// start starts the role, waits until it is ready, and goes on supervising it.
func (r *role) start(ctx context.Context) error {
	if err := r.once(ctx); err != nil {
		return err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.ended = make(chan struct{})
	r.up.owned.Go(func() {
		defer close(r.ended)
		r.supervise(ctx)
	})
	return nil
}

// stop ends the role and waits for it.
func (r *role) stop() {
	if r.cancel != nil {
		r.cancel()
		<-r.ended
	}
}

func (r *role) supervise(ctx context.Context) {
	pause := firstBackoff
	for {
		began := time.Now()
		box := r.current()
		select {
		case <-box.Done():
		case <-ctx.Done():
			r.end(box)
			return
		}
		_, reason := box.Exit()
		slog.Error("role ended", "role", r.name, "reason", reason)
		r.up.printer.Say("%s ended unexpectedly; starting it again", r.name)
		if time.Since(began) > calm {
			pause = firstBackoff
		}
		for {
			err := r.once(ctx)
			if err == nil {
				r.mu.Lock()
				r.restarts++
				r.mu.Unlock()
				r.up.record(wire.Event{Kind: "role.restart", Subject: "up", Object: r.name})
				break
			}
			slog.Error("restart role", "role", r.name, "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			pause = min(2*pause, maxBackoff)
		}
	}
}

// end lets the role drain, then ends it.
func (r *role) end(box *sandbox.Sandbox) {
	_ = r.tell(wire.ToRole{Drain: true}) // it may have ended already
	select {
	case <-box.Done():
	case <-time.After(3 * time.Second):
		box.Kill()
		<-box.Done()
	}
}

// status is what `ward status` shows of the role.
func (r *role) status() RoleStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RoleStatus{Name: r.name, PID: r.box.PID(), Restarts: r.restarts}
}

func (r *role) current() *sandbox.Sandbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.box
}

func (r *role) tell(m wire.ToRole, files ...*os.File) error {
	r.mu.Lock()
	conn := r.conn
	r.mu.Unlock()
	if conn == nil {
		return fmt.Errorf("tell %s: it isn't running", r.name)
	}
	return conn.Send(m, files...)
}

// once starts the role once and waits until it is ready.
func (r *role) once(ctx context.Context) error {
	spec, err := sandbox.PrepareRole(sandbox.Role{
		Name: r.name, Argv: []string{"ward", RoleVerb, r.name}, Folders: r.folders, Network: r.network,
	}, r.up.host(sandbox.FirstUID+roleUID[r.name]))
	if err != nil {
		return err
	}
	conn, theirs, err := scm.Pair()
	if err != nil {
		return err
	}
	logs := r.up.printer.Pipe("ward/"+r.name, nil)
	box, err := r.up.launcher.Start(ctx, sandbox.Config{Spec: spec, Stdin: theirs, Stdout: logs, Stderr: logs, CgroupName: "ward-" + r.name, Flag: r.up.flag("ward/" + r.name)})
	theirs.Close()
	logs.Close()
	if err != nil {
		conn.Close()
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	r.mu.Lock()
	if r.conn != nil {
		r.conn.Close()
	}
	r.box, r.conn = box, conn
	r.mu.Unlock()
	if err := box.Run(); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	if err := r.brief(conn); err != nil {
		box.Kill()
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	if err := r.waitReady(ctx, box, conn); err != nil {
		box.Kill()
		<-box.Done()
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	return nil
}

// brief hands the role its configuration and sockets.
func (r *role) brief(conn *scm.Conn) error {
	var files []*os.File
	if len(r.key.Reveal()) > 0 {
		f, err := keyInMemory(r.key)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	if err := conn.Send(wire.ToRole{Config: &r.config}, files...); err != nil {
		return err
	}
	for _, purpose := range r.listens {
		if f := r.up.sockets[purpose]; f != nil {
			if err := conn.Send(wire.ToRole{Listen: &wire.Listen{Purpose: purpose}}, f); err != nil {
				return err
			}
		}
	}
	if r.onStart != nil {
		return r.onStart()
	}
	return nil
}

func (r *role) waitReady(ctx context.Context, box *sandbox.Sandbox, conn *scm.Conn) error {
	said := make(chan error, 1)
	go func() {
		var m wire.FromRole
		_, err := conn.Recv(&m)
		switch {
		case err != nil:
			said <- err
		case m.Fatal != "":
			said <- fmt.Errorf("%s", m.Fatal)
		default:
			said <- nil
		}
	}()
	select {
	case err := <-said:
		if err != nil {
			_, reason := box.Exit()
			return fmt.Errorf("it ended: %w %s", err, reason)
		}
		return nil
	case <-time.After(roleReadyIn):
		return fmt.Errorf("it isn't ready after %s", roleReadyIn)
	case <-ctx.Done():
		return ctx.Err()
	}
}
