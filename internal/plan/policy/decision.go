// Package policy compiles a plan's rules into tables and decides requests on
// them: the one evaluator of gateway, agent, explain, reach and attack.
//
// It guarantees: deny by default (the zero Decision denies), no allocation and
// no error on the decision path, and that tables are immutable after Compile,
// so that any number of goroutines may decide at once.
package policy

// Reason tells why a decision came out as it did.
type Reason uint8

// The reasons. The zero Reason belongs to the zero Decision, which denies.
const (
	ReasonNone       Reason = iota
	Allowed                 // an enforce rule allows
	AllowedByObserve        // an observe rule allows; record it
	NoRule                  // the peer has no rule at all for this end
	NoRoute                 // the peer has rules, but none for this path
	NoMethod                // a rule has the path, but not this method
	WrongProtocol           // a rule has the path, but not as this protocol or on this port
	UnknownPeer             // the peer isn't in the plan
	Quarantined             // an answer to an attack has cut the caller or the target off
	NeedsUser               // the rule for this request asks for a user, and nobody is signed in
	NeedsFactor             // the user may, but has shown no second factor, or too long ago
	OtherUser               // the rule is for other users
	ConditionFailed         // the rule's condition doesn't hold
)

// Decision is the answer. Rule indexes plan.Plan.Rules: the rule that allows, or that asks for somebody else (NeedsUser to
// ConditionFailed); otherwise it is -1 (or, in the zero Decision, meaningless).
type Decision struct {
	Allow  bool
	Reason Reason
	Rule   int32
}

// Asks tells whether a denial is for want of the right person, and not of a rule.
func (r Reason) Asks() bool { return r >= NeedsUser }
