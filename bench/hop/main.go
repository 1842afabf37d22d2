// Command hop measures what one proxied HTTP/1.1 request costs: the CPU time of the
// proxy (all its processes, user and system, from /proc) and the latency it adds.
//
// In one run it starts a tiny upstream, Ward's engine, httputil.ReverseProxy, and
// what is installed of nginx, HAProxy and Caddy, and gives each of them alternating
// rounds of the same load by wrk. It prints a table in Markdown. It measures this
// machine at this moment: only the ratios within a run mean much.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 4 && os.Args[1] == "role" {
		log.Fatal(serveRole(os.Args[2], os.Args[3]))
	}
	rounds := flag.Int("rounds", 5, "rounds of load for each proxy")
	length := flag.Duration("length", 3*time.Second, "length of a round")
	conns := flag.Int("conns", 64, "keep-alive connections")
	caddy := flag.String("caddy", "caddy", "the caddy program")
	flag.Parse()
	if err := run(*rounds, *length, *conns, *caddy); err != nil {
		log.Fatal(err)
	}
}

// result gathers the rounds of one proxy.
type result struct {
	*contender
	cpu      []float64 // µs per request
	rate     []float64 // requests per second
	added    []float64 // µs of the median, one connection
	rss      int       // KiB at the end
	requests int
	bad      int
}

func run(rounds int, length time.Duration, conns int, caddy string) error {
	dir, err := os.MkdirTemp("", "hop")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	up, err := startUpstream()
	if err != nil {
		return err
	}
	defer up.stop()
	var results []*result
	for _, c := range contenders(dir, caddy, up.addr) {
		if err := c.start(); err != nil {
			log.Printf("%s is left out: %v", c.name, err)
			continue
		}
		defer c.stop()
		results = append(results, &result{contender: c})
	}
	for round := -1; round < rounds; round++ { // round -1 warms up
		for i := range results {
			r := results[(i+max(round, 0))%len(results)]
			if err := r.round(round, length, conns, up.addr); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	for _, r := range results {
		r.rss = r.memory()
	}
	table(results, rounds, length, conns)
	return nil
}

func (r *result) round(round int, length time.Duration, conns int, upstream string) error {
	before := r.cpuTime()
	n, bad, err := load(r.addr, length, conns)
	if err != nil {
		return err
	}
	spent := r.cpuTime() - before
	direct, err := latency(upstream)
	if err != nil {
		return err
	}
	through, err := latency(r.addr)
	if err != nil {
		return err
	}
	if round < 0 {
		return nil
	}
	r.requests += n
	r.bad += bad
	r.cpu = append(r.cpu, float64(spent.Microseconds())/float64(n))
	r.rate = append(r.rate, float64(n)/length.Seconds())
	r.added = append(r.added, through-direct)
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func table(results []*result, rounds int, length time.Duration, conns int) {
	base := map[string]float64{}
	for _, r := range results {
		base[r.name] = median(r.cpu)
	}
	ratio := func(r *result, to string) string {
		if base[to] == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", base[r.name]/base[to])
	}
	fmt.Printf("%d rounds of %v each, alternating, %d keep-alive connections, 1 KiB responses, medians; %s\n\n", rounds, length, conns, machine())
	fmt.Println("| proxy | CPU µs/request (least–most) | of nginx | of Caddy | requests/s | added latency at the median, 1 connection, µs | RSS MiB | not 2xx |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		fmt.Printf("| %s | %.1f (%.1f–%.1f) | %s | %s | %.0f | %.0f | %.0f | %d of %d |\n", r.title, median(r.cpu), slices.Min(r.cpu), slices.Max(r.cpu),
			ratio(r, "nginx"), ratio(r, "caddy"), median(r.rate), median(r.added), float64(r.rss)/1024, r.bad, r.requests)
	}
}
