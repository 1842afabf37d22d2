// Package clock is the time, as something that tests can set.
//
// It guarantees nothing about monotonicity: a Clock may jump, as a machine's does.
package clock

import "time"

// Clock tells the time. It must be safe for concurrent use.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Func makes a Clock of a function.
type Func func() time.Time

// Now calls f.
func (f Func) Now() time.Time { return f() }
