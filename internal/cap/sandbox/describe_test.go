package sandbox

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// TestDescribeSaysWhatIsPrepared: programs, ports, names, files and limits of the plan, and what Ward sets where it is silent.
func TestDescribeSaysWhatIsPrepared(t *testing.T) {
	var narrow, silent plan.Service
	silent.Run, silent.Workdir = []string{"./w"}, "."
	narrow.Run, narrow.Workdir, narrow.Runtime, narrow.Listen = []string{"./web", "--token=x"}, "web", model.RuntimeNode, []model.Listen{{Port: 8080}}
	narrow.Upstreams = []plan.Upstream{{Target: "db"}, {Target: "db"}, {Target: plan.Self}, {Target: "api"}}
	narrow.Files.Write, narrow.Limits = []model.Path{{Path: "uploads"}}, model.Limits{MemoryBytes: 64 << 20, CPU: 0.5, PIDs: 7, OpenFiles: 9}
	for name, c := range map[string]struct {
		s    plan.Service
		want map[string]string
	}{
		"declared": {narrow, map[string]string{
			"Programs": "./web with its loader or interpreter, node;", "Files": "in memory, uploads", "Network": "to db, api", "Ports": "8080, for Ward", "Limits": "64 MB of memory, 0.5 processors, 7 processes, 9 open files",
		}},
		"nothing declared": {silent, map[string]string{
			"Programs": "runs ./w with its loader or interpreter;", "Network": "it may call nobody", "Ports": "none declared", "Limits": "memory unlimited, processors unlimited, 512 processes, 8192 open files",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, l := range Describe(&c.s) {
				if !strings.Contains(l.Text, c.want[l.Name]) || strings.Contains(l.Text, "token") {
					t.Errorf("%s: %s", l.Name, l.Text)
				}
			}
		})
	}
}
