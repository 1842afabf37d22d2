// Command update judges `ward update` by real out-of-date projects: it makes each of public versions, in a git repository of its own, runs
// `ward update --json`, and compares what is proposed and held with what was written down beforehand (projects.go).
//
//	go build -o WARD ../../cmd/ward && go run . -ward WARD [-only NAME]
//
// It needs git, Go, npm, yarn 1, pnpm 9 or 10, and their registries. Advisories are the published ones, cut down to what matching needs (advisories.go). Nothing of the user's
// caches is touched but Go's module cache.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	ward := flag.String("ward", "ward", "the ward program")
	only := flag.String("only", "", "the projects to try, by a part of their name; all if absent")
	registry := flag.String("npm", "", "the registry of npm packages; as npm is set up if absent")
	atOnce := flag.Int("at-once", 2, "how many projects are tried at once")
	keep := flag.Bool("keep", false, "keep the temporary folder")
	flag.Parse()
	if err := run(*ward, *only, *registry, *atOnce, *keep); err != nil {
		log.Fatal(err)
	}
}

func run(ward, only, upstream string, atOnce int, keep bool) error {
	path, err := exec.LookPath(ward)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-update-")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	log.Println("in", dir)
	if upstream == "" {
		said, err := exec.Command("npm", "config", "get", "registry").Output()
		if err != nil {
			return fmt.Errorf("ask npm for its registry: %w", err)
		}
		upstream = strings.TrimRight(strings.TrimSpace(string(said)), "/")
	}
	front, stop, err := openFront(upstream)
	if err != nil {
		return err
	}
	defer stop()
	b := &bench{ward: path, dir: dir, front: front}
	if err := b.index(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards bad, and lines on the screen
	bad, slots := 0, make(chan struct{}, max(atOnce, 1))
	for _, p := range projects() {
		if !strings.Contains(p.name, only) {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			began := time.Now()
			got, err := b.try(p)
			differ := ""
			if err == nil {
				differ = p.compare(got)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil || differ != "" {
				bad++
			}
			say(p, got, err, differ, time.Since(began))
		})
	}
	wg.Wait()
	if bad > 0 {
		return fmt.Errorf("%d projects differ from what was expected", bad)
	}
	return nil
}

func say(p project, got *report, err error, differ string, took time.Duration) {
	if err != nil {
		log.Printf("%-16s FAILED after %.0f s: %v", p.name, took.Seconds(), err)
		return
	}
	verdict := "as expected"
	if differ != "" {
		verdict = "DIFFERS"
	}
	log.Printf("%-16s %s, %.0f s; findings %d → %d; %s", p.name, verdict, took.Seconds(), got.Before, got.After, p.why)
	for _, pr := range got.Proposals {
		log.Printf("    %s: %s; %d tests count, %d don't; %d cleared, %d new; files %s", pr.Risk, strings.Join(pr.changes(), ", "), pr.Tests, pr.Unsure,
			len(pr.Cleared), len(pr.New), strings.Join(pr.files, " "))
		for _, n := range pr.Notices {
			log.Println("        notice:", n)
		}
	}
	for _, h := range got.Held {
		log.Printf("    held %s %s → %q: %.300q", h.Name, h.Version, h.To, h.Reason)
	}
	if differ != "" {
		log.Print(differ)
	}
}

// bench is one run of all.
type bench struct{ ward, dir, front string }

func (b *bench) db() string { return filepath.Join(b.dir, "advisories.index") }

// env is the environment of every program: caches in our own folder.
func (b *bench) env(name string) []string {
	return append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(b.dir, "cache", name), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"npm_config_registry="+b.front+"/", "npm_config_cache="+filepath.Join(b.dir, "npm"), "YARN_CACHE_FOLDER="+filepath.Join(b.dir, "yarn"), "GOFLAGS=-mod=mod")
}

func (b *bench) do(name, dir string, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env, c.WaitDelay = dir, b.env(name), 10*time.Second
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(complaint.String()))
	}
	return out, nil
}

func tail(s string) string { return s[max(0, len(s)-600):] }

// index makes Ward's index of the advisories.
func (b *bench) index() error {
	at := filepath.Join(b.dir, "advisories")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for _, a := range advisories() {
		j, err := json.Marshal(a.osv())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(at, a.id+".json"), j, 0o644); err != nil {
			return err
		}
	}
	_, err := b.do("db", b.dir, b.ward, "scan", "db", "update", "--db", b.db(), "--from", at)
	return err
}

// report is what `ward update --json` prints, as far as it is compared.
type report struct {
	Base          string
	Before, After int
	Proposals     []proposal
	Held          []held
}

type proposal struct {
	Branch, Commit, Risk string
	Changes              []struct{ Name, From, To, How string }
	Tests, Unsure        int
	Cleared, New         []any
	Notices              []string
	files                []string // that the commit changes
}

type held struct{ Name, Version, To, Reason string }

func (p *proposal) changes() []string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, fmt.Sprintf("%s %s→%s %s", c.Name, strings.TrimPrefix(c.From, "v"), strings.TrimPrefix(c.To, "v"), c.How))
	}
	slices.Sort(out)
	return out
}

// try makes a project and updates it.
func (b *bench) try(p project) (*report, error) {
	dir := filepath.Join(b.dir, p.name)
	if err := b.create(p, dir); err != nil {
		return nil, err
	}
	argv := append([]string{b.ward, "update", "--json", "--db", b.db()}, p.flags...)
	out, err := b.do(p.name, dir, append(argv, dir)...)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, err
	}
	for i := range r.Proposals {
		files, err := b.do(p.name, dir, "git", "diff", "--name-only", r.Base, r.Proposals[i].Commit)
		if err != nil {
			return nil, err
		}
		r.Proposals[i].files = strings.Fields(string(files))
	}
	if dirty, err := b.do(p.name, dir, "git", "status", "--porcelain"); err != nil || len(dirty) > 0 {
		return nil, fmt.Errorf("the work tree was touched: %s %w", dirty, err)
	}
	return r, nil
}

// create writes a project, has its lock files made, and commits them.
func (b *bench) create(p project, dir string) error {
	for name, text := range p.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	steps := [][]string{{"git", "init", "-q", "-b", "main"}}
	if _, ok := p.files["go.mod"]; ok {
		steps = append(steps, []string{"go", "mod", "tidy"})
	}
	if text, ok := p.files["package.json"]; ok {
		pins, install := install(p)
		if p.tool == "yarn" {
			install = append(install, "--registry", b.front+"/")
		}
		if len(p.pin) > 0 { // an old lock file: what was newest then
			old := strings.Replace(text, "{", strings.Replace(pins, "PINS", string(must(json.Marshal(p.pin))), 1), 1)
			if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(old), 0o644); err != nil {
				return err
			}
			if _, err := b.do(p.name, dir, install...); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(text), 0o644); err != nil {
				return err
			}
		}
		steps = append(steps, install)
	}
	steps = append(steps, []string{"git", "add", "-A"}, []string{"git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "Begin"})
	for _, s := range steps {
		if _, err := b.do(p.name, dir, s...); err != nil {
			return err
		}
	}
	return nil
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
