package watching

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/up/output"
)

// followEvery is how often control is asked for more.
const followEvery = 500 * time.Millisecond

// logsCommand is a call of `ward logs`.
type logsCommand struct {
	e            cli.Env
	q            watch.LogQuery
	since, until string
	level        string
	lines        int
	json, follow bool
	width        int
}

// Logs is `ward logs`.
func Logs(e cli.Env) *cobra.Command {
	l := &logsCommand{e: e}
	c := cli.Running("logs [SERVICE...]", "Show what services printed, and search it", 0, func(p up.Paths, c *cobra.Command, args []string) error {
		if err := l.read(args, time.Now()); err != nil {
			return err
		}
		if l.follow && len(args) == 1 && !l.json && !l.isSearch() {
			return l.stream(cli.Background(c), p, args[0])
		}
		return l.run(cli.Background(c), p)
	})
	c.Args = cobra.ArbitraryArgs
	f := c.Flags()
	f.StringVar(&l.since, "since", "", "only from then on: 90m, 2h, 3d, or a time such as 2026-11-22T14:00:00Z")
	f.StringVar(&l.until, "until", "", "only until then")
	f.StringVar(&l.q.Text, "grep", "", "only lines that hold this text, in any case")
	f.StringVar(&l.q.Regexp, "regexp", "", "only lines in which this finds something (RE2)")
	f.StringVar(&l.level, "level", "", "only lines that say they are as bad: debug, info, warn, error or fatal")
	f.StringVar(&l.q.Trace, "trace", "", "only lines that hold this trace's ID")
	f.IntVarP(&l.lines, "lines", "n", 100, "how many at most: the newest")
	f.BoolVar(&l.follow, "follow", false, "go on as more comes")
	f.BoolVar(&l.json, "json", false, "as JSON, an object a line")
	return c
}

func (l *logsCommand) isSearch() bool {
	return l.since+l.until+l.q.Text+l.q.Regexp+l.level+l.q.Trace != ""
}

// read makes a question of the flags.
func (l *logsCommand) read(services []string, now time.Time) (err error) {
	l.q.Services = services
	if l.lines < 1 {
		return fault.New(fault.Usage, "-n is a number of lines, 1 or more")
	}
	if err := l.q.Level.UnmarshalText([]byte(l.level)); err != nil {
		return fault.New(fault.Usage, "--level: "+err.Error())
	}
	if l.q.Since, err = readTime(l.since, now); err != nil {
		return fault.New(fault.Usage, "--since: "+err.Error())
	}
	if l.q.Until, err = readTime(l.until, now); err != nil {
		return fault.New(fault.Usage, "--until: "+err.Error())
	}
	if l.follow && !l.q.Until.IsZero() {
		return fault.New(fault.Usage, "--follow and --until can't go together")
	}
	return nil
}

// readTime reads a time, or how long ago one was; "" is the zero time.
func readTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	var days time.Duration
	if n, ok := strings.CutSuffix(s, "d"); ok {
		s, days = n+"h", 24
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("%.40q is neither a time nor a duration such as 90m or 3d", s)
	}
	if days > 0 {
		d *= days
	}
	return now.Add(-d), nil
}

// run asks control, and with --follow again and again.
func (l *logsCommand) run(ctx context.Context, p up.Paths) error {
	last, err := l.show(ctx, p, l.lines)
	for l.follow && err == nil {
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil
		}
		l.q.After = last
		last, err = l.show(ctx, p, -1)
	}
	return err
}

// show prints what is found, the oldest first, at most so many of the newest (-1: all), and returns the number of the newest line there is.
func (l *logsCommand) show(ctx context.Context, p up.Paths, most int) (last uint64, err error) {
	var all []watch.LogEntry
	q := l.q
	for page := 0; ; page++ {
		q.Limit = watch.MaxLogLines
		if most >= 0 {
			q.Limit = min(q.Limit, most-len(all))
		}
		var r watch.LogResult
		if err := p.Admin().Call(ctx, http.MethodPost, "/v1/logs/search", q, &r); err != nil {
			return 0, err
		}
		if page == 0 {
			last = r.Last
		}
		all = append(all, r.Entries...)
		for _, u := range r.Unread {
			fmt.Fprintf(l.e.Err, "lines of %s between %s and %s are damaged and can't be read\n", u.Service, u.From.Local().Format(time.RFC3339), u.To.Local().Format(time.RFC3339))
		}
		q.Before = r.Next
		switch {
		case !r.Unsearched.IsZero():
			fmt.Fprintf(l.e.Err, "the search took too long: nothing before %s was looked at; narrow it with --since, --until or a service\n", r.Unsearched.Local().Format(time.RFC3339))
		case most >= 0 && len(all) >= most && r.Next.Time != 0:
			if l.isSearch() {
				fmt.Fprintf(l.e.Err, "these are the newest %d; there may be more: -n\n", most)
			}
		case r.Next.Time != 0:
			continue
		}
		break
	}
	slices.Reverse(all)
	return last, l.print(all)
}

func (l *logsCommand) print(all []watch.LogEntry) error {
	out := bufio.NewWriter(l.e.Out)
	if l.json {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for i := range all {
			if err := enc.Encode(&all[i]); err != nil {
				return fmt.Errorf("print lines: %w", err)
			}
		}
		return out.Flush()
	}
	for i := range all {
		l.width = max(l.width, len(nameOf(&all[i])))
	}
	for i := range all {
		x := &all[i]
		text := output.Printable(x.Text)
		if x.Level.String() == "gap" {
			text = "[ward: " + text + "]"
		}
		fmt.Fprintf(out, "%s %-*s | %s\n", x.Time.Local().Format("01-02 15:04:05.000"), l.width, nameOf(x), text)
	}
	return out.Flush()
}

func nameOf(x *watch.LogEntry) string {
	if x.Replica == 0 {
		return x.Service
	}
	return fmt.Sprintf("%s.%d", x.Service, x.Replica)
}

// stream shows the supervisor's own file of a service and what follows: it has every line, also while control is away.
func (l *logsCommand) stream(ctx context.Context, p up.Paths, service string) error {
	resp, err := p.Up().Do(ctx, http.MethodGet, "/v1/logs?follow=1&service="+url.QueryEscape(service), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if _, err := fmt.Fprintln(l.e.Out, output.Printable(lines.Text())); err != nil {
			return fmt.Errorf("print lines: %w", err)
		}
	}
	return lines.Err()
}
