// Package condition is the language of when: in ward.yaml, CEL (cel.dev) over what is known of a request:
// who is signed in, the parameters of the route, the address and the time.
//
// It guarantees that a Condition which compiled is of type bool and names only what there is, that judging
// it is bounded in cost, and that any error in it means false.
package condition

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// maxText is how long a condition may be, in bytes; maxCost bounds one judgement, in CEL's units (about
// one per operation).
const (
	maxText = 1024
	maxCost = 10_000
)

// Vars is what a condition may ask about. User fields are empty when nobody is signed in.
type Vars struct {
	UserID, Email string
	Groups, Roles []string
	Params        map[string]string // of the route's pattern, decoded
	Method, Path  string
	IP            string // the client's, as the gateway saw it
	Now           int64  // seconds since 1970, UTC
}

// Condition is a compiled condition. It is immutable: use it from any number of goroutines. The nil Condition
// is false.
type Condition struct{ program cel.Program }

// Language compiles conditions. The zero Language is not usable: make one with New.
type Language struct{ env *cel.Env }

// New returns the language. It takes about a millisecond; keep it.
func New() (*Language, error) {
	list := cel.ListType(cel.StringType)
	env, err := cel.NewEnv(
		ext.Network(), ext.Strings(),
		cel.Variable("user.id", cel.StringType), cel.Variable("user.email", cel.StringType),
		cel.Variable("user.groups", list), cel.Variable("user.roles", list),
		cel.Variable("params", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("method", cel.StringType), cel.Variable("path", cel.StringType),
		cel.Variable("ip", cel.StringType), cel.Variable("now", cel.TimestampType),
	)
	if err != nil {
		return nil, fmt.Errorf("make the language of conditions: %w", err)
	}
	return &Language{env}, nil
}

// ErrTooLong is the error of a condition of more than a kilobyte.
var ErrTooLong = errors.New("a condition has at most 1,024 characters")

// Compile reads a condition. An error says in one line where the text goes wrong.
func (l *Language) Compile(text string) (*Condition, error) {
	if len(text) > maxText {
		return nil, ErrTooLong
	}
	ast, issues := l.env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("at character %d: %s", first.Location.Column()+1, strings.TrimSpace(first.Message))
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("a condition is true or false; this is of type %s", ast.OutputType())
	}
	p, err := l.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("compile condition: %w", err)
	}
	return &Condition{p}, nil
}

// Holds judges. An error, for example a missing parameter, is false.
func (c *Condition) Holds(v *Vars) bool {
	if c == nil || v == nil {
		return false
	}
	out, _, err := c.program.Eval(activation{v})
	if err != nil {
		return false
	}
	holds, ok := out.Value().(bool)
	return ok && holds
}

// activation looks values up when they are asked for, so that a condition pays only for what it names.
type activation struct{ *Vars }

// ResolveName returns the value of a variable.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case "user.id":
		return a.UserID, true
	case "user.email":
		return a.Email, true
	case "user.groups":
		return a.Groups, true
	case "user.roles":
		return a.Roles, true
	case "params":
		return a.Params, true
	case "method":
		return a.Method, true
	case "path":
		return a.Path, true
	case "ip":
		return a.IP, true
	case "now":
		return time.Unix(a.Now, 0).UTC(), true
	}
	return nil, false
}

// Parent is nil: there is nothing else to look in.
func (a activation) Parent() cel.Activation { return nil }
