package console

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
)

// logsData is what the search of logs shows.
type logsData struct {
	Text, Trace   string
	Services      []choice
	Levels, Spans []choice
	Result        watch.LogResult
	Older         string // the address of what comes before
	Filtered      bool
}

// logSpans are the spans to choose from.
var logSpans = [...]string{"", "all that is kept", "15m", "15 minutes", "1h", "1 hour", "6h", "6 hours", "24h", "1 day"}

func (c *Console) logsPage(v *visit) (view, error) {
	q := v.URL.Query()
	ask := watch.LogQuery{Text: q.Get("text"), Trace: strings.ToLower(q.Get("trace")), Limit: 200}
	if s := q.Get("service"); s != "" {
		ask.Services = []string{s}
	}
	if s := q.Get("level"); s != "" {
		if err := ask.Level.UnmarshalText([]byte(s)); err != nil {
			return view{}, fault.New(fault.Invalid, "level is debug, info, warn, error or fatal")
		}
	}
	if s := q.Get("since"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return view{}, fault.New(fault.Invalid, "since is a duration, such as 15m")
		}
		ask.Since = v.Now.Add(-d)
	}
	if at, seq, ok := strings.Cut(q.Get("before"), "."); ok {
		t, err := strconv.ParseInt(at, 10, 64)
		n, err2 := strconv.ParseUint(seq, 10, 64)
		if err != nil || err2 != nil {
			return view{}, fault.New(fault.Invalid, "before is a place that this page gave")
		}
		ask.Before.Time, ask.Before.Seq = t, n
	}
	r, err := c.config.Kept.Logs(v.Context(), ask)
	if err != nil {
		return view{}, err
	}
	d := logsData{
		Text: ask.Text, Trace: ask.Trace, Services: c.services(q.Get("service")), Result: r, Spans: choices(q.Get("since"), logSpans[:]...),
		Levels:   choices(q.Get("level"), "", "every level", "debug", "debug and worse", "info", "info and worse", "warn", "warnings and worse", "error", "errors and worse", "fatal", "fatal"),
		Filtered: ask.Text != "" || ask.Trace != "" || len(ask.Services) > 0 || ask.Level != 0,
	}
	if r.Next.Time != 0 {
		next := url.Values{}
		for _, name := range []string{"text", "service", "level", "since", "trace"} {
			if s := q.Get(name); s != "" {
				next.Set(name, s)
			}
		}
		next.Set("before", strconv.FormatInt(r.Next.Time, 10)+"."+strconv.FormatUint(r.Next.Seq, 10))
		d.Older = "/logs?" + next.Encode()
	}
	out := view{Page: "logs", Title: "Logs", Here: "logs", Data: d}
	if ask.Before.Time == 0 {
		out.Topic = "logs"
	}
	return out, nil
}

// levelMark is a level of a line.
func levelMark(l watch.LogLevel) mark {
	switch s := l.String(); s {
	case "error", "fatal":
		return mark{"high", "▲", s}
	case "warn":
		return mark{"medium", "◆", s}
	case "gap":
		return mark{"idle", "…", "gap"}
	case "":
		return mark{}
	default:
		return mark{"low", "●", s}
	}
}
