package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

var (
	wrkTotal = regexp.MustCompile(`(\d+) requests in`)
	wrkBad   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// load has wrk ask for the same page over and over.
func load(addr string, length time.Duration, conns int) (n, bad int, err error) {
	out, err := exec.Command("wrk", "-t1", "-c", strconv.Itoa(conns), "-d", fmt.Sprint(int(length.Seconds())),
		"-H", "Accept: application/json", "-H", "User-Agent: hop/1", "http://"+addr+"/api/v1/items/42?full=1").Output()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w", err)
	}
	m := wrkTotal.FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("wrk said %s", out)
	}
	n, err = strconv.Atoi(string(m[1]))
	if err == nil && n == 0 {
		err = errors.New("no request was answered")
	}
	if m := wrkBad.FindSubmatch(out); m != nil {
		bad, _ = strconv.Atoi(string(m[1]))
	}
	return n, bad, err
}

// latency is the median time of one request after the other, in µs.
func latency(addr string) (float64, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	var all []float64
	for range 2000 {
		at := time.Now()
		if _, err := fmt.Fprint(c, "GET /api/v1/items/42?full=1 HTTP/1.1\r\nHost: catalog\r\nAccept: application/json\r\n\r\n"); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, err
		}
		if _, err := r.Discard(int(resp.ContentLength)); err != nil {
			return 0, err
		}
		all = append(all, float64(time.Since(at).Nanoseconds())/1000)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
