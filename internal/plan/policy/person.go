package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/condition"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Person is who is signed in. Times are seconds since 1970.
type Person struct {
	ID, Email     string
	Groups, Roles []string
	FactorAt      int64 // when the second factor was shown; 0: never
}

// Context is what a decision knows besides the request: the person in it, where it came from, and the time. The nil
// Context is nobody.
type Context struct {
	Person *Person // nil: nobody is signed in
	IP     string
	Now    int64 // seconds since 1970
}

// need is what a rule asks of the person.
type need struct {
	who      []string // as model.Need.Who; empty: nobody is asked for
	factor   int64    // seconds
	when     *condition.Condition
	names    []string // of the pattern's segments; "" for one without a name
	hasNames bool
}

// conditions compiles conditions, each text once.
type conditions struct {
	language *condition.Language
	compiled map[string]*condition.Condition
}

func (c *conditions) get(text string) (*condition.Condition, error) {
	if text == "" {
		return nil, nil
	}
	if got := c.compiled[text]; got != nil {
		return got, nil
	}
	if c.language == nil {
		l, err := condition.New()
		if err != nil {
			return nil, err
		}
		c.language, c.compiled = l, map[string]*condition.Condition{}
	}
	got, err := c.language.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("condition: %w", err)
	}
	c.compiled[text] = got
	return got, nil
}

// newNeed is nil for a rule that asks nothing.
func newNeed(r *plan.Rule, c *conditions) (*need, error) {
	if !r.Need.Asks() {
		return nil, nil
	}
	when, err := c.get(r.Need.When)
	if err != nil {
		return nil, err
	}
	n := &need{who: r.Need.Who, factor: int64(r.Need.MFA), when: when}
	if n.factor > 0 && len(n.who) == 0 {
		n.who = []string{plan.SignedIn}
	}
	if when != nil && r.Grant.Kind != model.GrantGRPC {
		for seg := range strings.SplitSeq(strings.TrimPrefix(r.Grant.Pattern, "/"), "/") {
			name := ""
			if strings.HasPrefix(seg, "{") {
				name, n.hasNames = seg[1:len(seg)-1], true
			}
			n.names = append(n.names, name)
		}
	}
	return n, nil
}

// unmet says what is missing, ReasonNone for nothing.
func (n *need) unmet(r *canon.Request, c *Context) Reason {
	if len(n.who) > 0 {
		if c == nil || c.Person == nil {
			return NeedsUser
		}
		if !slices.ContainsFunc(n.who, c.Person.Is) {
			return OtherUser
		}
		if n.factor > 0 && (c.Person.FactorAt == 0 || c.Now-c.Person.FactorAt > n.factor) {
			return NeedsFactor
		}
	}
	if n.when != nil && !n.holds(r, c) {
		return ConditionFailed
	}
	return ReasonNone
}

// Is tells whether a word of Need.Who means this person.
func (p *Person) Is(who string) bool {
	kind, name, _ := strings.Cut(who, ":")
	switch kind {
	case plan.SignedIn:
		return p.ID != ""
	case "group":
		return slices.Contains(p.Groups, name)
	case "role":
		return slices.Contains(p.Roles, name)
	case "user":
		return p.Email != "" && strings.EqualFold(p.Email, name)
	}
	return false
}

func (n *need) holds(r *canon.Request, c *Context) bool {
	v := condition.Vars{Method: r.Method, Path: r.Path}
	if c != nil {
		v.IP, v.Now = c.IP, c.Now
		if p := c.Person; p != nil {
			v.UserID, v.Email, v.Groups, v.Roles = p.ID, p.Email, p.Groups, p.Roles
		}
	}
	if n.hasNames {
		v.Params = n.params(r.Path)
	}
	return n.when.Holds(&v)
}

// params are the named segments of a path, decoded.
func (n *need) params(path string) map[string]string {
	out := make(map[string]string, len(n.names))
	i := 0
	for seg := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if i == len(n.names) {
			break
		}
		if name := n.names[i]; name != "" {
			// A segment that can't be decoded is no canonical one: leave it out, so that the condition fails.
			if s, err := url.PathUnescape(seg); err == nil {
				out[name] = s
			}
		}
		i++
	}
	return out
}
