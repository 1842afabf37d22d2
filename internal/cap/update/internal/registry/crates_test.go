package registry

import (
	"strings"
	"testing"
)

func TestCratesTellsTimesAndWhatWasYanked(t *testing.T) {
	line := func(name, version, more string) string {
		return `{"name":"` + name + `","vers":"` + version + `","cksum":"00","yanked":false` + more + "}\n"
	}
	s := serve(t, map[string]string{
		"/pa/rt/part": line("part", "1.0.0", "") + line("part", "1.1.0", `,"yanked":true`) + line("part", "1.10.0", `,"pubtime":"2026-01-02T00:00:00Z","Pubtime":"2020-01-01T00:00:00Z"`) + line("part", "1.9.0", ""),
		"/3/a/abc":    line("other", "1.0.0", ""), "/1/x": "{",
	})
	c := NewCrates(CargoEnv{Index: s.URL}, nil)
	got, err := c.Releases(t.Context(), "part", "1.1.0")
	if err != nil || len(got) != 3 || got[0].Retracted == "" || got[1].Version != "1.9.0" || !got[1].Published.IsZero() || got[2].Published != day(2) {
		t.Error(got, err)
	}
	for _, bad := range []string{"abc", "x", "absent", "../up", "-x"} {
		if got, err := c.Releases(t.Context(), bad, ""); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestOnlyCratesOfThePublicRegistryAreAskedFor(t *testing.T) {
	const lock = `version = 4

[[package]]
name = "app"
version = "0.1.0"

[[package]]
name = "public"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"

[[package]]
name = "private"
version = "1.0.0"
source = "sparse+https://crates.corp.example/index/"

[[package]]
name = "git"
version = "1.0.0"
source = "git+ssh://git@corp.example/x?rev=1#0"
`
	for name, want := range map[string]string{"public 1.0.0": "", "private 1.0.0": "https://crates.corp.example, which isn't asked", "git 1.0.0": "ssh://corp.example", "app 0.1.0": "the project itself", "public 2.0.0": "doesn't hold it"} {
		name, version, _ := strings.Cut(name, " ")
		if got := (CargoEnv{}).Elsewhere([]byte(lock), name, version); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s %s: %q", name, version, got)
		}
	}
}
