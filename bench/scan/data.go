package main

import (
	"archive/zip"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func makeData(args []string) error {
	set := flag.NewFlagSet("data", flag.ExitOnError)
	out := set.String("out", "", "folder for the zips")
	goDir := set.String("go", "", "golang/vulndb's data/osv")
	rustDir := set.String("rust", "", "rustsec/advisory-db's branch osv")
	pyDir := set.String("pypi", "", "pypa/advisory-database's vulns")
	trees := set.String("trees", "", "folders with lock files of npm")
	total := set.Int("total", 215_000, "advisories in all")
	set.Parse(args) //nolint:errcheck // it exits
	n := 0
	for ecosystem, dir := range map[string]string{"Go": *goDir, "crates.io": *rustDir, "PyPI": *pyDir} {
		if dir == "" {
			continue
		}
		real, err := readReal(dir)
		if err != nil {
			return err
		}
		if err := writeZip(*out, ecosystem, real); err != nil {
			return err
		}
		log.Printf("%s: %d real advisories", ecosystem, len(real))
		n += len(real)
	}
	names, err := npmNames(*trees)
	if err != nil {
		return err
	}
	synthetic := invent(*total-n, names)
	log.Printf("npm: %d invented advisories, of packages in lock files %d", len(synthetic), len(names))
	return writeZip(*out, "npm", synthetic)
}

func writeZip(out, ecosystem string, entries map[string][]byte) error {
	dir := filepath.Join(out, "osv-scalibr", ecosystem) // where osv-scanner looks
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "all.zip"))
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	ids := make([]string, 0, len(entries))
	for id := range entries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		w, err := z.Create(id + ".json")
		if err != nil {
			return err
		}
		if _, err := w.Write(entries[id]); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// readReal reads OSV entries in JSON or YAML.
func readReal(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		ext := filepath.Ext(p)
		if err != nil || d.IsDir() || ext != ".json" && ext != ".yaml" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var e map[string]any
		if ext == ".yaml" {
			err = yaml.Unmarshal(b, &e)
		} else {
			err = json.Unmarshal(b, &e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if b, err = json.Marshal(e); err == nil {
			out[e["id"].(string)] = b
		}
		return err
	})
	return out, err
}

// npmNames are packages of lock files with one of their versions each.
func npmNames(trees string) (map[string]string, error) {
	out := map[string]string{}
	err := filepath.WalkDir(trees, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "package-lock.json" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var lock struct {
			Packages map[string]struct{ Version string }
		}
		if err := json.Unmarshal(b, &lock); err != nil {
			return err
		}
		for path, pkg := range lock.Packages {
			if i := strings.LastIndex(path, "node_modules/"); i >= 0 && pkg.Version != "" {
				out[path[i+len("node_modules/"):]] = pkg.Version
			}
		}
		return nil
	})
	return out, err
}

// invent makes n advisories: for every third package of a lock file one to three, half of which hold; the others for names of nobody.
// Equal seeds make equal advisories.
func invent(n int, names map[string]string) map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	var known []string
	for i, name := range sorted {
		for k := 0; i%3 == 0 && k <= random.IntN(3); k++ {
			known = append(known, name)
		}
	}
	words := strings.Fields("a flaw in how input is parsed lets remote attackers with no account read write or delete what others own when the server runs with its defaults")
	out := make(map[string][]byte, n)
	for i := range n {
		name, major := fmt.Sprintf("nobodys-package-%d", random.IntN(n*2/3)), random.IntN(9)
		if i < len(known) {
			name = known[i]
			fmt.Sscan(strings.SplitN(names[name], ".", 2)[0], &major) //nolint:errcheck // or it stays random
		}
		details := make([]string, 60+random.IntN(300))
		for j := range details {
			details[j] = words[random.IntN(len(words))]
		}
		id := fmt.Sprintf("GHSA-%04x-%04x-%04x", i%7919, i/3, random.IntN(1<<16))
		low, fix := "0", fmt.Sprintf("%d.%d.%d", major, random.IntN(6), random.IntN(9))
		if random.IntN(3) == 0 {
			low = fmt.Sprintf("%d.0.0", major)
		}
		out[id], _ = json.Marshal(map[string]any{
			"schema_version": "1.7.0", "id": id, "modified": time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC), "published": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			"aliases": []string{fmt.Sprintf("CVE-%d-%d", 2010+i%16, 1000+i)}, "summary": strings.Join(details[:9], " "), "details": strings.Join(details, " "),
			"severity": []any{map[string]any{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:N/A:L"}},
			"affected": []any{map[string]any{
				"package": map[string]any{"ecosystem": "npm", "name": name, "purl": "pkg:npm/" + name},
				"ranges":  []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": low}, map[string]string{"fixed": fix}}}},
			}},
			"references":        []any{map[string]string{"type": "WEB", "url": "https://example.org/" + id}, map[string]string{"type": "FIX", "url": "https://example.org/fix/" + id}},
			"database_specific": map[string]any{"severity": "HIGH", "cwe_ids": []string{"CWE-20"}, "github_reviewed": true},
		})
	}
	return out
}
