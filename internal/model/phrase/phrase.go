// Package phrase reads the small sentences of ward.yaml that tell how a secret is used: how it reaches a service, how it
// goes out with a request, who logs in with it, and what a database's user may do.
//
// It guarantees that what a function accepted is complete, and that String of it reads the same again.
package phrase

import (
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model/lexis"
)

// Secret is the word that names a secret: "secret:stripe-key".
const Secret = "secret:"

// The expressions of the sentences, as JSON Schema says them.
const (
	label      = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`
	REDelivery = `^(file( restart| signal (HUP|USR1|USR2))?|env [A-Za-z_][A-Za-z0-9_]*)$`
	REAuth     = `^(bearer|header [A-Za-z0-9-]{1,64}|query [A-Za-z0-9_.-]{1,64}|basic [^\s:]{1,128}|aws [a-z0-9-]{1,32} [a-z0-9-]{1,32}|certificate) secret:` + label + `$`
	RELogin    = `^[A-Za-z_][A-Za-z0-9_.-]{0,62} secret:` + label + `$`
	privilege  = `(SELECT|INSERT|UPDATE|DELETE|TRUNCATE|REFERENCES|TRIGGER|USAGE)`
	RERights   = `^` + privilege + `(, ?` + privilege + `)* ON (ALL (TABLES|SEQUENCES) IN SCHEMA [a-z_][a-z0-9_]{0,62}|([a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,62})$`
	RERole     = `^[a-z_][a-z0-9_]{0,62}$`
)

// Delivery is how a secret reaches a service: as a file below /run/secrets, or as an environment variable, which more
// eyes can see.
type Delivery struct {
	Env     string `json:"env,omitempty"`     // the variable's name; "" for a file
	Restart bool   `json:"restart,omitempty"` // a new value starts the service anew; a variable can't change otherwise
	Signal  string `json:"signal,omitempty"`  // sent to the service after a new value: HUP, USR1, USR2
}

// ParseDelivery reads "file", "file restart", "file signal HUP", or "env NAME".
func ParseDelivery(s string) (Delivery, error) {
	w := strings.Split(s, " ")
	switch {
	case len(w) == 1 && w[0] == "file":
		return Delivery{}, nil
	case len(w) == 2 && w[0] == "file" && w[1] == "restart":
		return Delivery{Restart: true}, nil
	case len(w) == 3 && w[0] == "file" && w[1] == "signal" && slices.Contains([]string{"HUP", "USR1", "USR2"}, w[2]):
		return Delivery{Signal: w[2]}, nil
	case len(w) == 2 && w[0] == "env" && lexis.IsIdent(w[1]):
		return Delivery{Env: w[1], Restart: true}, nil
	}
	return Delivery{}, lexis.Errorf(`"file", "file restart", "file signal HUP" (or USR1, USR2), or "env NAME"`, "%q doesn't say how a secret is delivered", lexis.Clip(s))
}

// String is the sentence.
func (d Delivery) String() string {
	switch {
	case d.Env != "":
		return "env " + d.Env
	case d.Restart:
		return "file restart"
	case d.Signal != "":
		return "file signal " + d.Signal
	}
	return "file"
}

// Kind is how a secret goes out with a request.
type Kind string

// The kinds.
const (
	Bearer      Kind = "bearer"      // Authorization: Bearer VALUE
	Header      Kind = "header"      // NAME: VALUE
	Query       Kind = "query"       // ?NAME=VALUE
	Basic       Kind = "basic"       // Authorization: Basic base64(NAME:VALUE)
	AWS         Kind = "aws"         // AWS Signature Version 4; the secret holds ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]
	Certificate Kind = "certificate" // TLS client certificate; the secret holds PEM of chain and key
)

// Auth is how Ward authenticates a service's requests to an external.
type Auth struct {
	Kind    Kind   `json:"kind"`
	Name    string `json:"name,omitempty"` // of the header, the query's parameter, or the user
	Region  string `json:"region,omitempty"`
	Service string `json:"service,omitempty"` // of AWS
	Secret  string `json:"secret"`
}

// ParseAuth reads "bearer secret:NAME" and the like; see REAuth.
func ParseAuth(s string) (Auth, error) {
	rest, name, ok := cutSecret(s)
	w := strings.Split(rest, " ")
	a := Auth{Kind: Kind(w[0]), Secret: name}
	switch {
	case !ok:
	case (a.Kind == Bearer || a.Kind == Certificate) && len(w) == 1:
		return a, nil
	case a.Kind == Header && len(w) == 2 && bounded(w[1], 64) && lexis.Only(w[1], letters+digits+"-"),
		a.Kind == Query && len(w) == 2 && bounded(w[1], 64) && lexis.Only(w[1], letters+digits+"_.-"),
		a.Kind == Basic && len(w) == 2 && bounded(w[1], 128) && !strings.ContainsAny(w[1], ":\t\n\v\f\r\u00a0"):
		a.Name = w[1]
		return a, nil
	case a.Kind == AWS && len(w) == 3 && isAWS(w[1]) && isAWS(w[2]):
		a.Region, a.Service = w[1], w[2]
		return a, nil
	}
	return Auth{}, lexis.Errorf(`such as "bearer secret:NAME", "header X-Api-Key secret:NAME", "query key secret:NAME", "basic USER secret:NAME", "aws REGION SERVICE secret:NAME" or "certificate secret:NAME"`,
		"%q doesn't say how to authenticate", lexis.Clip(s))
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

func bounded(s string, most int) bool { return s != "" && len(s) <= most }
func isAWS(s string) bool             { return bounded(s, 32) && lexis.Only(s, lower+digits+"-") }

// cutSecret takes the secret's name from the end of a sentence.
func cutSecret(s string) (rest, name string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	name, ok = strings.CutPrefix(s[i+1:], Secret)
	return s[:i], name, ok && lexis.IsLabel(name)
}

// String is the sentence.
func (a Auth) String() string {
	w := []string{string(a.Kind)}
	for _, x := range []string{a.Name, a.Region, a.Service} {
		if x != "" {
			w = append(w, x)
		}
	}
	return strings.Join(append(w, Secret+a.Secret), " ")
}

// Login is an account of a database.
type Login struct {
	User   string `json:"user"`
	Secret string `json:"secret"` // its password
}

// ParseLogin reads "USER secret:NAME".
func ParseLogin(s string) (Login, error) {
	user, name, ok := cutSecret(s)
	if !ok || !bounded(user, 63) || !lexis.Only(user, letters+digits+"_.-") || !lexis.Only(user[:1], letters+"_") {
		return Login{}, lexis.Errorf(`such as "shop secret:shop-password"`, "%q is no user with a secret", lexis.Clip(s))
	}
	return Login{User: user, Secret: name}, nil
}

// String is the sentence.
func (l Login) String() string {
	if l.User == "" {
		return ""
	}
	return l.User + " " + Secret + l.Secret
}

// Rights is what a user of a database may do with one thing, as in PostgreSQL's GRANT.
type Rights struct {
	Privileges []string `json:"privileges"` // SELECT, INSERT…; never empty
	// On is "TABLE name", "TABLE schema.name", "ALL TABLES IN SCHEMA name" or "ALL SEQUENCES IN SCHEMA name"; names are plain lower-case identifiers.
	On string `json:"on"`
}

// ParseRights reads "SELECT, INSERT ON orders".
func ParseRights(s string) (Rights, error) {
	what, on, ok := strings.Cut(s, " ON ")
	var r Rights
	for p := range strings.SplitSeq(what, ",") {
		p = strings.TrimPrefix(p, " ")
		if !slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "USAGE"}, p) || slices.Contains(r.Privileges, p) {
			ok = false
		}
		r.Privileges = append(r.Privileges, p)
	}
	w := strings.Split(on, " ")
	switch {
	case len(w) == 1:
		schema, table, both := strings.Cut(on, ".")
		ok = ok && isIdentifier(schema) && (!both || isIdentifier(table))
		r.On = "TABLE " + on
	case len(w) == 5 && w[0] == "ALL" && (w[1] == "TABLES" || w[1] == "SEQUENCES") && w[2] == "IN" && w[3] == "SCHEMA":
		ok = ok && isIdentifier(w[4])
		r.On = on
	default:
		ok = false
	}
	if !ok {
		return Rights{}, lexis.Errorf(`such as "SELECT, INSERT ON orders" or "SELECT ON ALL TABLES IN SCHEMA public"; names are plain lower-case ones`, "%q is no right at a database", lexis.Clip(s))
	}
	return r, nil
}

func isIdentifier(s string) bool {
	return bounded(s, 63) && lexis.Only(s, lower+digits+"_") && lexis.Only(s[:1], lower+"_")
}

// IsRole tells whether s is a plain name of a database's role.
func IsRole(s string) bool { return isIdentifier(s) }

// String is the sentence.
func (r Rights) String() string {
	return strings.Join(r.Privileges, ", ") + " ON " + strings.TrimPrefix(r.On, "TABLE ")
}
