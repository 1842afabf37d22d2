// Package prove attacks a running application and compares what it reached with what the
// plan grants: reached if and only if granted.
//
// From the inside it works as a taken-over service would, by a probe in that service's sandbox; from the
// outside through the gateway. What to expect comes from the same evaluator that
// enforces. Guarantee: every difference is reported, in both directions. Not guaranteed: that
// routes which no attempt samples behave like those that are sampled; and a granted
// call that is answered with an error counts as reached.
package prove

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/prove/escape"
)

// Job is what a probe does inside a sandbox.
type Job struct {
	Ground *escape.Ground `json:"ground,omitempty"` // nil: no attempts to escape
	Calls  []Call         `json:"calls,omitempty"`
}

// Findings is what a probe found.
type Findings struct {
	Escapes []escape.Report `json:"escapes,omitempty"`
	Answers []Answer        `json:"answers,omitempty"` // in the order of the calls
}

// maxJob bounds what a probe reads, in bytes.
const maxJob = 32 << 20

// Inside is the probe: it reads a Job from standard input, does it, and writes Findings to
// standard output. Its result is an exit code.
func Inside([]string) int {
	if err := inside(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ward probe:", err)
		return 1
	}
	return 0
}

func inside(in io.Reader, out io.Writer) error {
	var job Job
	if err := json.NewDecoder(io.LimitReader(in, maxJob)).Decode(&job); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	var f Findings
	// Before any connection: one of the attempts looks for descriptors that were left open.
	if job.Ground != nil {
		f.Escapes = escape.Run(job.Ground)
	}
	f.Answers = Perform(job.Calls)
	if err := json.NewEncoder(out).Encode(f); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

// Bounds of Perform.
const (
	atOnce       = 8
	answerLimit  = 2 * time.Second
	silenceLimit = 300 * time.Millisecond // how long a TCP service may say nothing before it counts as reached
)

// Perform makes the calls, some at a time.
func Perform(calls []Call) []Answer {
	out := make([]Answer, len(calls))
	var wg sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i := range calls {
		turn <- struct{}{}
		wg.Go(func() {
			out[i] = calls[i].perform()
			out[i].ID = calls[i].ID
			<-turn
		})
	}
	wg.Wait()
	return out
}
