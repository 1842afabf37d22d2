package console

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/plan/words"
)

// perPage is how many records a page has.
const perPage = 100

// auditData is what the audit trail shows.
type auditData struct {
	Kind, Service, Text, ID string
	Since                   []choice
	Records                 []record
	Older                   string
	Filtered                bool
	Chain                   chain
	OneRecord               bool
}

// record is a line of the audit trail.
type record struct {
	ledger.Record
	Details []detail
}

type detail struct{ Key, Value string }

func (c *Console) auditPage(v *visit) (view, error) {
	q := v.URL.Query()
	ask := search.Query{Kind: q.Get("kind"), Service: words.Party(q.Get("service")), Text: q.Get("text"), ID: q.Get("id"), Newest: true, Limit: perPage + 1}
	if s := q.Get("since"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return view{}, fault.New(fault.Invalid, "since is a duration, such as 1h")
		}
		ask.Since = v.Now.Add(-d)
	}
	if s := q.Get("until"); s != "" {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return view{}, fault.New(fault.Invalid, "until is a time, such as 2026-01-31T15:04:05Z")
		}
		ask.Until = t
	}
	d := auditData{
		Kind: ask.Kind, Service: ask.Service, Text: ask.Text, ID: ask.ID,
		Since:    choices(q.Get("since"), "", "all that is kept", "1h", "1 hour", "24h", "1 day", "168h", "7 days", "720h", "30 days"),
		Filtered: ask.Kind != "" || ask.Service != "" || ask.Text != "" || ask.ID != "",
	}
	if q.Get("from") != "" { // one record, that something points at
		parsed, err := search.ParseQuery(url.Values{"from": {q.Get("from")}, "limit": {"1"}})
		if err != nil {
			return view{}, err
		}
		ask, d.OneRecord = parsed, true
	}
	var err error
	if d.Chain, err = c.chain(v.Context(), v.Now); err != nil {
		return view{}, err
	}
	err = c.config.Records.Search(v.Context(), ask, func(r ledger.Record) bool {
		x := record{Record: r}
		for _, k := range slices.Sorted(maps.Keys(r.Detail)) {
			x.Details = append(x.Details, detail{k, r.Detail[k]})
		}
		d.Records = append(d.Records, x)
		return true
	})
	if err != nil {
		return view{}, err
	}
	if len(d.Records) > perPage {
		d.Records = d.Records[:perPage]
		next := url.Values{"until": {d.Records[perPage-1].Time.UTC().Format(time.RFC3339Nano)}}
		for _, name := range []string{"kind", "service", "text", "id", "since"} {
			if s := q.Get(name); s != "" {
				next.Set(name, s)
			}
		}
		d.Older = "/audit?" + next.Encode()
	}
	out := view{Page: "audit", Title: "Audit", Here: "audit", Data: d}
	if ask.Until.IsZero() && !d.OneRecord {
		out.Topic = "ledger"
	}
	return out, nil
}
