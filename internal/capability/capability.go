// Package capability is the contract that every capability of Ward keeps: what it is, what it stops, and the attacks
// on it that must fail. A capability without attacks isn't one.
package capability

import (
	"errors"
	"fmt"
)

// Capability is one practice that Ward enforces.
type Capability struct {
	Name   string // of its package below internal/cap
	Stops  string // what it is for, in one sentence
	Probes []Probe
}

// Probe is a kind of attack: one that `ward attack` makes on the running application, by the name that package prove gives it, or one that a
// test makes, because nothing of it may run anywhere else: all from Supply are such.
type Probe struct {
	From  Side
	Kind  string
	Tries string // in one sentence
	Test  string // the test that makes it, "internal/cap/x.TestY"; "" for `ward attack`
}

// Side is where an attacker stands.
type Side uint8

// The sides. The zero Side is nowhere.
const (
	Nowhere Side = iota
	Outside      // before the gateway
	Inside       // in the sandbox of a service that was taken over
	Supply       // in what an application is built from: its sources, parts, images, and what describes them
)

// Check tells what keeps a capability from being one.
func (c *Capability) Check() error {
	if c.Name == "" || c.Stops == "" {
		return errors.New("a capability without a name, or without a purpose")
	}
	if len(c.Probes) == 0 {
		return fmt.Errorf("capability %s has no probes: nobody would know whether it holds", c.Name)
	}
	for _, p := range c.Probes {
		if p.From == Nowhere || p.Kind == "" || p.Tries == "" {
			return fmt.Errorf("capability %s has a probe %q that doesn't say from where, or what it tries", c.Name, p.Kind)
		}
		if p.From == Supply && p.Test == "" {
			return fmt.Errorf("capability %s has a probe %q from the supply chain without its test", c.Name, p.Kind)
		}
	}
	return nil
}
