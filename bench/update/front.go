package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// openFront serves a registry of npm on loopback, with one thing changed: releases came in the order of their versions, a day apart. Registries behind
// caches tell when they themselves first held a version, and Ward takes no version that is older than the one in use.
func openFront(upstream string) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = "http://" + l.Addr().String()
	f := &front{strings.TrimRight(upstream, "/"), address}
	s := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }() // it ends when it is closed
	return address, func() { _ = s.Close(); <-done }, nil
}

type front struct{ upstream, address string }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, f.upstream+r.URL.EscapedPath(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := http.DefaultClient.Do(ask)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK || strings.Contains(r.URL.Path, "/-/") {
		w.WriteHeader(a.StatusCode)
		_, _ = io.Copy(w, a.Body) // npm tells if it is cut
		return
	}
	var doc map[string]any
	if err := json.NewDecoder(a.Body).Decode(&doc); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	f.change(doc)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc)
}

func (f *front) change(doc map[string]any) {
	versions, _ := doc["versions"].(map[string]any)
	var order []string
	for v, x := range versions {
		order = append(order, v)
		m, _ := x.(map[string]any)
		if dist, ok := m["dist"].(map[string]any); ok {
			if at, ok := dist["tarball"].(string); ok {
				dist["tarball"] = strings.Replace(at, f.upstream, f.address, 1)
			}
		}
	}
	slices.SortFunc(order, func(a, b string) int { return semver.Compare("v"+a, "v"+b) })
	day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	times := map[string]string{"created": day.Format(time.RFC3339), "modified": day.Format(time.RFC3339)}
	for i, v := range order {
		times[v] = day.AddDate(0, 0, i).Format(time.RFC3339)
	}
	doc["time"] = times
}
