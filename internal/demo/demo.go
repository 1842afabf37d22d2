// Package demo shows what Ward is for: it starts the shop plainly and attacks it, starts the
// same programs under guard, attacks them in the same way, and prints both results side by side.
//
// Guarantee: every cell of the table is what an attempt of this run came to; "stopped" is said only
// of an attempt that was refused in a way that this package recognises as Ward's, after
// a purchase had shown that the shop works; all that it starts is on
// loopback and ends with it. Not guaranteed: that the attacks are all there are (see package prove).
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/sandbox"
)

// ServiceVerb is the hidden verb of this binary that runs a role of the shop.
const ServiceVerb = "demo-service"

// Config says how to run the demo.
type Config struct {
	Program string    // the path of this binary
	Dir     string    // an empty folder, the caller's to remove
	Out     io.Writer // table, or JSON
	Notes   io.Writer // what is going on meanwhile
	Once    bool      // end after the table
	JSON    bool
	Color   bool
	// Change, if not nil, changes the model before it is put into force, for tests that show
	// that the table tells the truth.
	Change func(model string) string
	Off    sandbox.Off // for the same tests
}

// Report is what a run found.
type Report struct {
	URL     string  `json:"url"`
	File    string  `json:"file"` // the guarded shop's ward.yaml
	Without Session `json:"session_without"`
	With    Session `json:"session_with"`
	Rows    []Row   `json:"attacks"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
}

// Session is a purchase by an ordinary customer.
type Session struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // the error, or what was bought
}

// Row is one attack, tried twice.
type Row struct {
	Attack  string `json:"attack"`
	Hole    string `json:"hole"`
	Without Result `json:"without"`
	With    Result `json:"with"`
}

// Result is what an attempt came to. An attempt that neither succeeded nor was
// stopped by Ward failed for a reason of its own, which proves nothing.
type Result struct {
	Succeeded bool   `json:"succeeded"`
	Layer     string `json:"layer,omitempty"` // of Ward, that stopped it
	Evidence  string `json:"evidence"`
}

// asExpected: the attack is real, and Ward does what it claims.
func (r *Row) asExpected() bool {
	return r.Without.Succeeded && !r.With.Succeeded && r.With.Layer != ""
}

// ErrFindings ends a run whose report says that something isn't as it should be.
var ErrFindings = fault.New(fault.Refused, "an attack that Ward claims to stop wasn't stopped, or the shop doesn't work; see above")

// Run runs the demo until it is over (Once) or ctx ends.
func Run(ctx context.Context, c Config) error {
	began := time.Now()
	program := filepath.Join(c.Dir, "ward")
	if err := copyProgram(c.Program, program); err != nil {
		return err
	}
	c.Program = program
	outside, err := startOutside()
	if err != nil {
		return err
	}
	defer outside.Close()
	var report Report
	fmt.Fprintln(c.Notes, "starting the shop without Ward …")
	if err := runPlain(ctx, &c, filepath.Join(c.Dir, "plain"), outside, &report); err != nil {
		return err
	}
	fmt.Fprintln(c.Notes, "starting the same programs under guard …")
	g, err := startGuarded(ctx, &c, filepath.Join(c.Dir, "guarded"), outside)
	if err != nil {
		return err
	}
	defer g.stop()
	report.URL, report.File = g.world.base, g.file
	report.With = attackAll(ctx, g.world, func(i int, r Result) { report.Rows[i].With = r })
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w", ctx.Err())
	}
	report.Seconds = time.Since(began).Seconds()
	report.judge()
	if !report.With.OK {
		fmt.Fprintf(c.Notes, "what 'ward up' and the services said:\n%s", g.log.String())
	}
	if err := report.write(&c); err != nil {
		return err
	}
	if !c.Once && ctx.Err() == nil {
		g.await(ctx, c.Notes)
	}
	if !report.OK {
		return ErrFindings
	}
	return nil
}

// Peace starts the guarded shop alone, without any attack: customers buy books, while visit, which is told the model's path and the shop's URL, does
// what it likes. Tests use it to see what Ward says of ordinary use.
func Peace(ctx context.Context, c Config, visit func(file, url string)) error {
	program := filepath.Join(c.Dir, "ward")
	if err := copyProgram(c.Program, program); err != nil {
		return err
	}
	c.Program = program
	outside, err := startOutside()
	if err != nil {
		return err
	}
	defer outside.Close()
	g, err := startGuarded(ctx, &c, filepath.Join(c.Dir, "guarded"), outside)
	if err != nil {
		return err
	}
	defer g.stop()
	for _, p := range []purchase{{user: victim, card: victimCard, live: true}, {user: mallory, card: "4000056655665556", note: "a gift: it's for O'Brien & sons"}, {user: victim, card: victimCard}} {
		if _, err := g.world.anew().buy(ctx, p); err != nil {
			return fmt.Errorf("buy a book: %w", err)
		}
	}
	visit(g.file, g.world.base)
	return nil
}

func (r *Report) judge() {
	r.OK = r.Without.OK && r.With.OK
	for i := range r.Rows {
		r.OK = r.OK && r.Rows[i].asExpected()
	}
}

func (r *Report) write(c *Config) error {
	if !c.JSON {
		return r.print(c.Out, c.Color)
	}
	e := json.NewEncoder(c.Out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// runPlain runs the shop without Ward for as long as the attacks take.
func runPlain(ctx context.Context, c *Config, dir string, out *outside, report *Report) error {
	p, err := startPlain(ctx, c.Program, dir, out)
	if err != nil {
		return err
	}
	defer p.stop()
	for _, a := range attacks() {
		report.Rows = append(report.Rows, Row{Attack: a.name, Hole: a.hole})
	}
	report.Without = attackAll(ctx, p.world, func(i int, r Result) { report.Rows[i].Without = r })
	return nil
}

// attackAll buys a book as a customer, and then makes every attack.
func attackAll(ctx context.Context, w *world, set func(int, Result)) Session {
	var s Session
	id, err := w.anew().buy(ctx, purchase{user: victim, card: victimCard, live: true})
	if err != nil {
		s.Detail = err.Error()
	} else {
		s = Session{OK: true, Detail: "order " + id + " bought, paid and followed to its end over WebSocket"}
	}
	for i, a := range attacks() {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		set(i, a.try(one, w.anew()))
		cancel()
	}
	return s
}
