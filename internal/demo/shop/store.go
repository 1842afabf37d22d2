package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// store keeps values by name in one JSON file: the shop's data store.
type store[T any] struct {
	path string

	mu     sync.Mutex
	values map[string]T // guarded by mu
	order  []string     // guarded by mu: names, the oldest first
}

type stored[T any] struct {
	Name  string `json:"name"`
	Value T      `json:"value"`
}

// openStore reads data/<name>.json in dir, or begins with nothing.
func openStore[T any](dir, name string) (*store[T], error) {
	s := &store[T]{path: filepath.Join(dir, "data", name+".json"), values: map[string]T{}}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	var all []stored[T]
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	for _, v := range all {
		s.values[v.Name] = v.Value
		s.order = append(s.order, v.Name)
	}
	return s, nil
}

func (s *store[T]) get(name string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[name]
	return v, ok
}

func (s *store[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []T{}
	for _, n := range s.order {
		out = append(out, s.values[n])
	}
	return out
}

// put sets a value and writes the file.
func (s *store[T]) put(name string, v T) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.values[name]; !ok {
		s.order = append(s.order, name)
	}
	s.values[name] = v
	return s.write()
}

// remove drops the values that f says, and writes the file.
func (s *store[T]) remove(f func(T) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = slices.DeleteFunc(s.order, func(name string) bool { return f(s.values[name]) })
	maps.DeleteFunc(s.values, func(_ string, v T) bool { return f(v) })
	return s.write()
}

// write needs mu.
func (s *store[T]) write() error {
	var all []stored[T]
	for _, n := range s.order {
		all = append(all, stored[T]{n, s.values[n]})
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	// As a whole, so that nobody reads half of it.
	tmp := s.path + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return nil
}
