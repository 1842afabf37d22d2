package code

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// analyserThat puts a program of this name into PATH.
func analyserThat(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

const log1 = `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Bandit"}},"results":[{"ruleId":"B1","message":{"text":"bad"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.py"},"region":{"startLine":3}}}]}]}]}`

func TestExternalTakesInWhatAnAnalyserFinds(t *testing.T) {
	analyserThat(t, "bandit", "[ \"$5\" = -o ] || exit 9\ncat > \"$6\" <<'X'\n"+log1+"\nX\nexit 1\n")
	res, err := External(context.Background(), t.TempDir(), []string{"bandit"})
	if err != nil || len(res.Problems) > 0 || len(res.Findings) != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	if f := res.Findings[0]; f.Tool != "Bandit" || f.ID != "B1" || f.Location.Path != "a.py" || f.Location.Line != 3 {
		t.Errorf("%+v", f)
	}
}

func TestExternalThatFailsIsAProblem(t *testing.T) {
	for name, script := range map[string]string{"exit 2": "echo broken >&2; exit 2", "no file": "exit 0", "no SARIF": "echo '{}' > \"$6\""} {
		t.Run(name, func(t *testing.T) {
			analyserThat(t, "bandit", script)
			res, err := External(context.Background(), t.TempDir(), []string{"bandit"})
			if err != nil || len(res.Problems) != 1 {
				t.Errorf("%+v %v", res, err)
			}
		})
	}
}

func TestExternalThatIsNotThereIsAnError(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]string{"bandit": "bandit isn't installed", "sh": "no analyser is called"} {
		if _, err := External(context.Background(), t.TempDir(), []string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
