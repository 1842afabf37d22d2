package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
)

func TestServiceLeavesNoSetUserIDFileBehind(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	dir := workdir(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	svc := service("setter", python(`
import os, ctypes
def attempt(name, f):
    try: f(); print(name, "DONE")
    except OSError as e: print(name, e.strerror)
open("data/plain", "w").close()
attempt("chmod", lambda: os.chmod("data/plain", 0o4755))
fd = os.open("data/plain", os.O_RDONLY)
attempt("fchmod", lambda: os.fchmod(fd, 0o2755))
attempt("open", lambda: os.open("data/made", os.O_CREAT | os.O_WRONLY, 0o6755))
attempt("nameless", lambda: os.open("data", os.O_TMPFILE | os.O_WRONLY, 0o4755))
os.chmod("data/plain", 0o750)
print("end")
`))
	svc.Files.Write = []model.Path{{Path: "data"}}
	s := startService(t, l, svc, testHost(t, dir, 1))
	text := s.text(t)
	if strings.Contains(text, "DONE") || !strings.Contains(text, "end") {
		t.Error(text)
	}
	for _, name := range []string{"plain", "made"} {
		if st, err := os.Stat(filepath.Join(dir, "data", name)); err == nil && st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("%s has mode %v", name, st.Mode())
		}
	}
}
