package purl

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/finding"
)

func TestPartsAndTheirURLs(t *testing.T) {
	for _, c := range []struct {
		p          finding.Package
		qualifiers map[string]string
		want       string
	}{
		{finding.Package{Ecosystem: "Go", Name: "github.com/gorilla/mux", Version: "v1.8.0"}, nil, "pkg:golang/github.com/gorilla/mux@v1.8.0"},
		{finding.Package{Ecosystem: "Go", Name: "stdlib", Version: "1.24.1"}, nil, "pkg:golang/stdlib@1.24.1"},
		{finding.Package{Ecosystem: "npm", Name: "@angular/core", Version: "16.0.0+x"}, nil, "pkg:npm/%40angular/core@16.0.0%2Bx"},
		{finding.Package{Ecosystem: "PyPI", Name: "ruamel-yaml", Version: "1"}, nil, "pkg:pypi/ruamel-yaml@1"},
		{finding.Package{Ecosystem: "Maven", Name: "org.apache.logging.log4j:log4j-core", Version: "2.14.1"}, nil, "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"},
		{finding.Package{Ecosystem: "Packagist", Name: "symfony/http-kernel", Version: "v5"}, nil, "pkg:composer/symfony/http-kernel@v5"},
		{finding.Package{Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.11-1~deb12u2", Source: "openssl", SourceVersion: "3.0.11-1~deb12u2"}, map[string]string{"distro": "debian-12", "arch": "amd64"}, "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?arch=amd64&distro=debian-12&upstream=openssl"},
		{finding.Package{Ecosystem: "Debian:12", Name: "a", Version: "1+b1", Source: "b", SourceVersion: "1"}, map[string]string{"distro": "debian-12"}, "pkg:deb/debian/a@1%2Bb1?distro=debian-12&upstream=b%401"},
		{finding.Package{Ecosystem: "Rocky Linux:9", Name: "openssl-libs", Version: "1:3.0.7-6.el9", Source: "openssl", SourceVersion: "3.0.7-6.el9"}, map[string]string{"distro": "rocky-9.2"}, "pkg:rpm/rocky/openssl-libs@3.0.7-6.el9?distro=rocky-9.2&epoch=1&upstream=openssl-3.0.7-6.el9.src.rpm"},
		{finding.Package{Ecosystem: "Ubuntu:22.04:LTS", Name: "bash", Version: "5:1", Source: "bash", SourceVersion: "5:1"}, map[string]string{"distro": "ubuntu-22.04"}, "pkg:deb/ubuntu/bash@5:1?distro=ubuntu-22.04"},
		{finding.Package{Ecosystem: "Alpine:v3.20", Name: "musl", Version: "1.2-r1", Source: "musl", SourceVersion: "1.2-r1"}, map[string]string{"distro": "alpine-3.20.1"}, "pkg:apk/alpine/musl@1.2-r1?distro=alpine-3.20.1"},
	} {
		u, ok := Of(c.p, c.qualifiers)
		if !ok || u.String() != c.want {
			t.Errorf("Of(%s) = %s, want %s", c.p.Name, u, c.want)
		}
		back, err := Parse(c.want)
		if err != nil {
			t.Fatal(err)
		}
		want := c.p
		want.PURL = c.want
		if d := cmp.Diff(want, back.Package()); d != "" {
			t.Errorf("%s read back (-want +got):\n%s", c.want, d)
		}
	}
	if u, ok := Of(finding.Package{Ecosystem: "Plan 9", Name: "rc"}, nil); ok {
		t.Errorf("an ecosystem that nobody knows has the URL %s", u)
	}
}

func TestOthersWaysToWriteThem(t *testing.T) {
	for in, want := range map[string]string{
		"pkg:npm/@angular/core@1.0.0":         "pkg:npm/%40angular/core@1.0.0",
		"pkg:NPM/%40angular%2Fcore@1.0.0":     "pkg:npm/%40angular%2Fcore@1.0.0",
		"pkg://pypi/Ruamel_.Yaml@1":           "pkg:pypi/ruamel-yaml@1",
		"pkg:golang/a/b@v1#sub/dir":           "pkg:golang/a/b@v1#sub/dir",
		"pkg:deb/Debian/x@1?distro=&arch=all": "pkg:deb/debian/x@1?arch=all",
	} {
		u, err := Parse(in)
		if err != nil || u.String() != want {
			t.Errorf("Parse(%s) = %s, %v; want %s", in, u, err, want)
		}
	}
	for _, in := range []string{"", "npm/a@1", "pkg:npm", "pkg:npm/", "pkg:npm/a%zz", "pkg:npm/a%00", "pkg:npm/a?=x"} {
		if u, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %s, want an error", in, u)
		}
	}
}

func TestReleasesOfDistributions(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"Debian", "12"}: ":12", {"Debian", "12.5"}: ":12", {"Alpine", "3.20.1"}: ":v3.20", {"Ubuntu", "22.04"}: ":22.04:LTS", {"Ubuntu", "23.04"}: ":23.04",
		{"Ubuntu", "24.10"}: ":24.10", {"AlmaLinux", "9.3"}: ":9", {"openSUSE", "15.5"}: ":Leap 15.5", {"Wolfi", "2023"}: "", {"Debian", ""}: "",
	} {
		if got := Release(in[0], in[1]); got != want {
			t.Errorf("Release(%s, %s) = %q, want %q", in[0], in[1], got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("pkg:npm/%40a/b@1?arch=x#s")
	f.Add("pkg:deb/debian/x@1:2~3?distro=debian-12")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil || len(u.String()) > maxURL { // percent-encoding makes it up to three times as long
			return
		}
		again, err := Parse(u.String())
		if err != nil {
			t.Fatalf("%q became %q, which can't be read: %v", s, u, err)
		}
		if again.String() != u.String() {
			t.Fatalf("%q became %q, then %q", s, u, again)
		}
	})
}
