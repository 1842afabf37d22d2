package order

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/osv-scalibr/semantic"
)

// Scalibr's own vectors, which it made with each ecosystem's native tool.
func TestVersionsAreOrderedAsTheEcosystemsDo(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/osv-scalibr").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "semantic", "testdata")
	for file, ecosystems := range map[string][]string{
		"semver-versions.txt": {"npm", "crates.io", "Go", "Hex"}, "rubygems-versions.txt": {"RubyGems"}, "rubygems-versions-generated.txt": {"RubyGems"},
		"nuget-versions.txt": {"NuGet"}, "packagist-versions.txt": {"Packagist"}, "packagist-versions-generated.txt": {"Packagist"}, "maven-versions.txt": {"Maven"},
		"maven-versions-generated.txt": {"Maven"}, "pypi-versions.txt": {"PyPI"}, "pypi-versions-generated.txt": {"PyPI"}, "debian-versions.txt": {"Debian", "Ubuntu"},
		"debian-versions-generated.txt": {"Debian"}, "alpine-versions.txt": {"Alpine"}, "alpine-versions-generated.txt": {"Alpine"}, "redhat-versions.txt": {"Red Hat"},
		"cran-versions.txt": {"CRAN"}, "cran-versions-generated.txt": {"CRAN"}, "hackage-versions.txt": {"Hackage"}, "pub-versions.txt": {"Pub"},
	} {
		for _, ecosystem := range ecosystems {
			t.Run(ecosystem+" "+file, func(t *testing.T) { vectors(t, ecosystem, filepath.Join(dir, file)) })
		}
	}
}

func vectors(t *testing.T, ecosystem, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	total, refused := 0, 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), " ")
		if len(parts) != 3 || parts[0] == "#" || parts[0] == "//" {
			continue
		}
		total++
		a, errA := Parse(ecosystem, parts[0])
		b, errB := Parse(ecosystem, parts[2])
		if errA != nil || errB != nil {
			refused++
			continue
		}
		want := map[string]int{"<": -1, "=": 0, ">": 1}[parts[1]]
		for _, x := range []struct {
			v, w Version
			text string
			want int
		}{{a, b, parts[2], want}, {b, a, parts[0], -want}} {
			got, err := x.v.Compare(x.w)
			again, err2 := x.v.CompareText([]byte(x.text))
			if got != x.want || again != x.want || err != nil || err2 != nil {
				t.Errorf("%s: %d and %d, %v, %v", lines.Text(), got, again, err, err2)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d vectors, %d of them with what we don't take for a version", total, refused)
	if total < 10 || refused*3 > total {
		t.Errorf("of %d vectors %d aren't looked at", total, refused)
	}
}

// What is plain is ordered as semantic does.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"1.2.3", "v1.0.0-rc.1+b", "1!2.0.post1", "1:3.0.11-1~deb12u2", "3.3.1-r0", "latest", "", "2024a", "1.0.x-dev", "0", "01.2", "v1", "1.2.3.4"} {
		for _, ecosystem := range []string{"npm", "PyPI", "NuGet", "RubyGems", "Maven", "Pub", "Debian", "Alpine", "Packagist"} {
			f.Add(ecosystem, s, "1.2")
			f.Add(ecosystem, s, "1.0.0")
		}
	}
	f.Fuzz(func(t *testing.T, ecosystem, s, other string) {
		v, err := Parse(ecosystem, s)
		if err != nil {
			return
		}
		if c, err := v.Compare(v); c != 0 || err != nil {
			t.Errorf("%s %q is %d beside itself, %v", ecosystem, s, c, err)
		}
		w, err := Parse(ecosystem, other)
		if err != nil || ecosystem == "GitHub Actions" {
			return
		}
		got, err := v.Compare(w)
		a, errA := semantic.Parse(s, ecosystem)
		b, errB := semantic.Parse(other, ecosystem)
		if err != nil || errA != nil || errB != nil {
			t.Fatalf("%v, %v, %v", err, errA, errB)
		}
		if want, err := a.Compare(b); got != want || err != nil {
			t.Errorf("%s: %q and %q: %d, semantic says %d, %v", ecosystem, s, other, got, want, err)
		}
	})
}

func TestWhatIsNoVersionIsNotOrdered(t *testing.T) {
	for _, tt := range []struct{ ecosystem, version string }{
		{"npm", ""},
		{"npm", "latest"},
		{"npm", "^1.2.0"},
		{"npm", "1.x"},
		{"npm", "1.2.*"},
		{"npm", "workspace:*"},
		{"npm", "file:../x"},
		{"npm", strings.Repeat("1", 300) + "-a"},
		{"Go", "devel"},
		{"crates.io", ">=1.0"},
		{"PyPI", "1.0-final-release"},
		{"PyPI", "main"},
		{"Packagist", "dev-master"},
		{"Packagist", "1.0.x-dev"},
		{"RubyGems", "HEAD"},
		{"Maven", "LATEST"},
		{"Maven", "${revision}"},
		{"Debian", "unknown"},
		{"Debian", "a:1"},
		{"Alpine", "edge"},
		{"GitHub Actions", "v4"},
		{"GitHub Actions", "8f4b7f84864484a7bf31766abe9204da3cbe65b3"},
		{"Nobody's", "1.0"},
	} {
		if v, err := Parse(tt.ecosystem, tt.version); err == nil {
			t.Errorf("%s %q is ordered: %+v", tt.ecosystem, tt.version, v)
		}
	}
}
