// Package diff says what a change of plan gives and takes.
//
// It guarantees that Gains and Losses are exact for what policy decides: a right
// is gained if and only if some request is allowed that wasn't, so a rule that
// moved, was split, or is covered by broader ones is no change. Where a
// rule is covered in part, it is reported for the methods and ports that aren't, with
// its whole path pattern and with what overlaps. It doesn't compare what a plan
// doesn't hold: programs' content, the world outside, time passing.
package diff

import (
	"slices"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Changes is everything that differs between two plans.
type Changes struct {
	Gains     []Right `json:"gains"`     // allowed now, wasn't
	Losses    []Right `json:"losses"`    // was allowed, isn't now
	Longer    []Right `json:"longer"`    // was allowed, and stays so for longer
	Shorter   []Right `json:"shorter"`   // is allowed, for a shorter time than it was
	Services  []Item  `json:"services"`  // in the order of the new plan, removed ones last
	Externals []Item  `json:"externals"` // likewise
	App       []Field `json:"app"`       // name, trust domain, gateway
	Users     []Field `json:"users"`
	Clients   []Item  `json:"clients"`
	Providers []Item  `json:"providers"`
	Issuers   []Item  `json:"issuers"`
	Secrets   []Item  `json:"secrets"`
	Keys      []Item  `json:"keys"`
	Databases []Item  `json:"databases"`
}

// Right is a right, or the part of a rule that changed.
type Right struct {
	Caller  string      `json:"caller"`
	Target  string      `json:"target"`
	Ports   []int       `json:"ports"`
	Grant   model.Grant `json:"grant"`
	Until   string      `json:"until,omitempty"` // observe: the last day
	To      string      `json:"to,omitempty"`
	Line    int         `json:"line"`              // in the plan that has it
	Overlap []string    `json:"overlap,omitempty"` // rules of the other plan that have a part of it
}

// Item is a service or external that came, went or changed.
type Item struct {
	Name   string  `json:"name"`
	Change string  `json:"change"` // "added", "removed" or "changed"
	Fields []Field `json:"fields,omitempty"`
}

// Field is one value that changed; "" is absent. Values of environment variables are
// never in it.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Empty says whether the plans mean the same.
func (c *Changes) Empty() bool {
	return len(c.Gains)+len(c.Losses)+len(c.Longer)+len(c.Shorter)+len(c.Services)+len(c.Externals)+len(c.App)+len(c.Users)+len(c.Clients)+len(c.Providers)+len(c.Issuers)+
		len(c.Secrets)+len(c.Keys)+len(c.Databases) == 0
}

// Compare finds what differs from old to new, in a stable order.
func Compare(old, new *plan.Plan) *Changes {
	a, b := newSide(old), newSide(new)
	c := &Changes{App: append(appFields(old, new), watchFields(&old.Watch, &new.Watch)...)}
	c.Gains, c.Longer = more(a, b)
	c.Losses, c.Shorter = more(b, a)
	c.Gains = append(c.Gains, uncovered(a, b)...)
	c.Losses = append(c.Losses, uncovered(b, a)...)
	c.Users = usersFields(&old.Users, &new.Users)
	c.Clients = compareClients(old.Users.Clients, new.Users.Clients)
	c.Providers = compareProviders(old.Users.Providers, new.Users.Providers)
	c.Issuers = compareIssuers(old.Users.Issuers, new.Users.Issuers)
	c.Secrets = compareSecrets(old, new)
	c.Keys = compareKeys(old.Keys, new.Keys)
	c.Databases = compareDatabases(old.Databases, new.Databases)
	c.Services = compareServices(old.Services, new.Services)
	c.Externals = compareExternals(old.Externals, new.Externals)
	return c
}

// more lists what b has beyond a: rights, and time for rights that a has too.
// Where several rules of b give the same new right, each is listed once.
func more(a, b *side) (rights, longer []Right) {
	rights, longer = []Right{}, []Right{}
	seen := map[string]bool{}
	for i := range b.plan.Rules {
		r := &b.plan.Rules[i]
		if !grants(r) {
			continue
		}
		x := newRight(r)
		key := exactKey(r)
		end, had := a.exact[key]
		if had && end >= x.end || seen[key+x.end] {
			continue
		}
		seen[key+x.end] = true
		pair := pairKey{r.Caller, r.Target}
		others := a.pairs[pair]
		methods := namedMethods(others, b.pairs[pair])
		if missing := b.missing(&x, others, methods, ""); len(missing) > 0 {
			for _, y := range reduced(&x, missing) {
				y.Overlap = overlapping(&x, others)
				rights = append(rights, y)
			}
			continue
		}
		if missing := b.missing(&x, others, methods, x.end); len(missing) > 0 {
			longer = append(longer, reduced(&x, missing)...)
		}
	}
	return rights, longer
}

func overlapping(x *right, others []right) []string {
	var out []string
	for i := range others {
		o := &others[i]
		same := o.rule.Grant.Kind == x.rule.Grant.Kind || o.rule.Grant.Kind == model.GrantAny || x.rule.Grant.Kind == model.GrantAny
		methods := slices.Contains(o.methods, "*") || slices.Contains(x.methods, "*") || x.rule.Grant.Kind != model.GrantHTTP ||
			slices.ContainsFunc(o.methods, func(m string) bool { return slices.Contains(x.methods, m) })
		ports := slices.ContainsFunc(o.rule.Ports, func(p int) bool { return slices.Contains(x.rule.Ports, p) })
		if same && methods && ports && overlaps(x.path, o.path) {
			out = append(out, o.rule.Grant.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
