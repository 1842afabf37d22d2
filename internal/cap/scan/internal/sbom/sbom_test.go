package sbom

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// schema compiles a standard's own schema.
func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for file, at := range map[string]string{
		"bom-1.6.schema.json": "http://cyclonedx.org/schema/bom-1.6.schema.json", "spdx.schema.json": "http://cyclonedx.org/schema/spdx.schema.json",
		"jsf-0.82.schema.json": "http://cyclonedx.org/schema/jsf-0.82.schema.json", "spdx-2.3.schema.json": "http://spdx.org/rdf/terms/2.3",
	} {
		f, err := os.Open(filepath.Join("testdata", file+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(z)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(at, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t *testing.T, s *jsonschema.Schema, data []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(doc); err != nil {
		t.Errorf("not valid: %#v\n%s", err, data)
	}
}

func shop() Document {
	lock := func(line int) finding.Location { return finding.Location{Path: "web/package-lock.json", Line: line} }
	a := finding.Package{
		Ecosystem: "npm", Name: "@a/core", Version: "1.0.0", PURL: "pkg:npm/%40a/core@1.0.0", Location: lock(7), Direct: true, Requires: []string{"b"}, Licenses: []string{"MIT"},
	}
	return Document{
		Name: "shop", Version: "1.2.3", Tool: "ward 0.5.0", Serial: "3E671687-395b-41f5-a30f-a58921a69b79", Created: time.Date(2026, 5, 4, 12, 0, 0, 5, time.FixedZone("", 7200)),
		Packages: []finding.Package{
			{Ecosystem: "Go", Name: "example.com/x/y", Version: "v1.0.0", PURL: "pkg:golang/example.com/x/y@v1.0.0", Location: finding.Location{Path: "go.mod", Line: 3}, Direct: true},
			a,
			{Ecosystem: "npm", Name: "b", Version: "2.0.0", PURL: "pkg:npm/b@2.0.0", Location: lock(9), Requires: []string{"@a/core", "b", "gone"}, Licenses: []string{"(MIT OR Apache-2.0)"}},
			{Ecosystem: "npm", Name: "b", Version: "1.0.0", PURL: "pkg:npm/b@1.0.0", Location: lock(12), Dev: true, Licenses: []string{"MIT", "Our own, see file", "BSD"}},
			{Ecosystem: "Maven", Name: "org.x:y", Version: "1", PURL: "pkg:maven/org.x/y@1", Location: finding.Location{Path: "app.jar"}, Licenses: []string{"ISC", "MIT"}},
			{
				Ecosystem: "Debian:12", Name: "libssl3", Version: "3.0.11-1~deb12u2", Source: "openssl", SourceVersion: "3.0.11-1~deb12u2", Layer: "sha256:abc",
				PURL: "pkg:deb/debian/libssl3@3.0.11-1~deb12u2?distro=debian-12&upstream=openssl", Location: finding.Location{Path: "var/lib/dpkg/status", Line: 1},
			},
			{Ecosystem: "plan9", Name: "rc", Version: "4", Location: finding.Location{Path: "etc/x"}},
		},
		Findings: []finding.Finding{
			{
				ID: "GHSA-1", Aliases: []string{"CVE-2024-1"}, Kind: finding.Dependency, Title: "bad", Detail: "very", URL: "https://example.com/GHSA-1", Severity: finding.High, Score: 7.5,
				Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Package: &a, Fix: "Take 1.0.1.",
			},
			{ID: "GHSA-0", Kind: finding.Malicious, Package: &a, Suppressed: &finding.Suppression{By: "vex", Reason: "isn't there", VEX: "component_not_present"}},
			{ID: "GHSA-0", Kind: finding.Malicious, Package: &a},
			{ID: "other", Kind: finding.Code, Title: "not a part"},
		},
	}
}

func TestWhatIsWrittenIsValidAndTheSameEachTime(t *testing.T) {
	for format, name := range map[Format]string{CycloneDX: "http://cyclonedx.org/schema/bom-1.6.schema.json", SPDX: "http://spdx.org/rdf/terms/2.3"} {
		s := schema(t, name)
		for kind, d := range map[string]Document{"a shop": shop(), "nothing": {Name: "x", Serial: shop().Serial, Created: shop().Created}} {
			var one, two bytes.Buffer
			if err := Write(&one, format, d); err != nil {
				t.Fatal(err)
			}
			d.Packages = slices.Clone(d.Packages)
			slices.Reverse(d.Packages)
			slices.Reverse(d.Findings[:min(2, len(d.Findings))])
			if err := Write(&two, format, d); err != nil {
				t.Fatal(err)
			}
			if one.String() != two.String() {
				t.Errorf("%s of %s differs with the order of parts:\n%s", format, kind, cmp.Diff(one.String(), two.String()))
			}
			check(t, s, one.Bytes())
		}
	}
}

func TestTheSchemasRefuse(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, CycloneDX, shop()); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(b.String(), `"severity": "high"`, `"severity": "awful"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if schema(t, "http://cyclonedx.org/schema/bom-1.6.schema.json").Validate(doc) == nil {
		t.Error("an unknown severity is valid: the schema isn't used")
	}
}

func TestReadsWhatItWrote(t *testing.T) {
	for _, format := range []Format{CycloneDX, SPDX} {
		t.Run(string(format), func(t *testing.T) {
			var b bytes.Buffer
			if err := Write(&b, format, shop()); err != nil {
				t.Fatal(err)
			}
			got, err := Read(&b)
			if err != nil {
				t.Fatal(err)
			}
			want := shop()
			want.Tool, want.Findings = "", nil
			want.Serial, want.Created = strings.ToLower(want.Serial), want.Created.UTC().Truncate(time.Second)
			p := want.Packages
			p[2].Requires = []string{"@a/core", "b"} // the other b; what isn't there has no edge
			p[6].Ecosystem = ""                      // no package URL says it
			if format == SPDX {
				p[4].Licenses, p[5].Layer = []string{"(ISC) AND (MIT)"}, ""
			}
			sameOrder := cmpopts.SortSlices(func(a, b finding.Package) bool { return reference(a) < reference(b) })
			sameLicenses := cmpopts.SortSlices(func(a, b string) bool { return a < b })
			if d := cmp.Diff(want, got, sameOrder, sameLicenses, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-written +read):\n%s", d)
			}
		})
	}
}

func TestVulnerabilitiesOfCycloneDX(t *testing.T) {
	all, _ := components(shop().Packages)
	got := vulnerabilities(shop().Findings, all)
	want := []cdxVulnerability{
		{
			ID: "GHSA-0", Ratings: []cdxRating{{Severity: "unknown"}}, Affects: []cdxAffected{{"pkg:npm/%40a/core@1.0.0"}},
			Analysis: &cdxAnalysis{"not_affected", "code_not_present", "vex: isn't there"},
		},
		{
			ID: "GHSA-1", Source: &cdxSource{URL: "https://example.com/GHSA-1"}, References: []cdxReference{{"CVE-2024-1", cdxSource{Name: "CVE"}}},
			Ratings:     []cdxRating{{7.5, "high", "CVSSv31", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}},
			Description: "bad", Detail: "very", Recommendation: "Take 1.0.1.", Affects: []cdxAffected{{"pkg:npm/%40a/core@1.0.0"}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What others write: npm's own is made by npm; the rest is written after the output of Syft 1, Trivy 0.5x and cdxgen 11.
func TestReadsWhatOthersWrite(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []finding.Package
	}{
		"Syft, CycloneDX": {
			`{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"metadata":{"tools":{"components":[{"type":"application","author":"anchore","name":"syft","version":"1.0"}]},"component":{"bom-ref":"r","type":"container","name":"debian"}},
			"components":[{"bom-ref":"pkg:deb/debian/apt@2.6.1?arch=amd64&distro=debian-12&package-id=1","type":"library","publisher":"APT","name":"apt","version":"2.6.1","licenses":[{"license":{"id":"GPL-2.0-only"}}],"cpe":"cpe:2.3:a:apt","purl":"pkg:deb/debian/apt@2.6.1?arch=amd64&distro=debian-12","properties":[{"name":"syft:location:0:layerID","value":"sha256:1"},{"name":"syft:location:0:path","value":"/var/lib/dpkg/status"}]},
			{"type":"operating-system","name":"debian","version":"12"},{"type":"file","name":"/bin/x"}]}`,
			[]finding.Package{{
				Ecosystem: "Debian:12", Name: "apt", Version: "2.6.1", PURL: "pkg:deb/debian/apt@2.6.1?arch=amd64&distro=debian-12", Source: "apt", SourceVersion: "2.6.1",
				Location: finding.Location{Path: "var/lib/dpkg/status"}, Layer: "sha256:1", Licenses: []string{"GPL-2.0-only"},
			}},
		},
		"Trivy, CycloneDX, with an application between": {
			`{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"metadata":{"tools":[{"vendor":"aquasecurity","name":"trivy"}],"component":{"bom-ref":"root","type":"application","name":"."}},
			"components":[{"bom-ref":"app","type":"application","name":"go.mod","properties":[{"name":"aquasecurity:trivy:Type","value":"gomod"}]},{"bom-ref":"a","type":"library","name":"golang.org/x/net","version":"v0.1.0","purl":"pkg:golang/golang.org/x/net@v0.1.0"}],
			"dependencies":[{"ref":"root","dependsOn":["app"]},{"ref":"app","dependsOn":["a"]}]}`,
			[]finding.Package{
				{Name: "go.mod", Direct: true, Requires: []string{"golang.org/x/net"}},
				{Ecosystem: "Go", Name: "golang.org/x/net", Version: "v0.1.0", PURL: "pkg:golang/golang.org/x/net@v0.1.0"},
			},
		},
		"cdxgen, CycloneDX, nested, evidence": {
			`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"framework","bom-ref":"m","group":"org.springframework","name":"spring-core","version":"5.3.0","scope":"required","purl":"pkg:maven/org.springframework/spring-core@5.3.0?type=jar",
			"licenses":[{"expression":"MIT OR ISC"}],"evidence":{"occurrences":[{"location":"pom.xml#12"}]},"components":[{"type":"library","name":"Ruamel.Yaml","version":"1","purl":"pkg:pypi/Ruamel.Yaml@1"}]}]}`,
			[]finding.Package{
				{Ecosystem: "PyPI", Name: "ruamel-yaml", Version: "1", PURL: "pkg:pypi/Ruamel.Yaml@1"},
				{
					Ecosystem: "Maven", Name: "org.springframework:spring-core", Version: "5.3.0", PURL: "pkg:maven/org.springframework/spring-core@5.3.0?type=jar", Licenses: []string{"MIT OR ISC"},
					Location: finding.Location{Path: "pom.xml#12"},
				},
			},
		},
		"Syft, SPDX": {
			`{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"alpine","documentNamespace":"https://x/y","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: syft"]},
			"packages":[{"name":"musl","SPDXID":"SPDXRef-a","versionInfo":"1.2.4-r1","downloadLocation":"NOASSERTION","licenseConcluded":"NOASSERTION","licenseDeclared":"MIT","externalRefs":[{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"cpe:2.3:a"},{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:apk/alpine/musl@1.2.4-r1?arch=x86_64&distro=alpine-3.18.2"}]},
			{"name":"alpine","SPDXID":"SPDXRef-root","versionInfo":"3.18","primaryPackagePurpose":"CONTAINER","downloadLocation":"NOASSERTION"}],
			"relationships":[{"spdxElementId":"SPDXRef-root","relatedSpdxElement":"SPDXRef-a","relationshipType":"CONTAINS"},{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-root","relationshipType":"DESCRIBES"}]}`,
			[]finding.Package{{
				Ecosystem: "Alpine:v3.18", Name: "musl", Version: "1.2.4-r1", PURL: "pkg:apk/alpine/musl@1.2.4-r1?arch=x86_64&distro=alpine-3.18.2", Source: "musl", SourceVersion: "1.2.4-r1",
				Licenses: []string{"MIT"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Read(strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, d.Packages, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadsWhatNpmWrites reads npm 11's answers (testdata/README.md), and those of the npm that is here if it knows the command.
func TestReadsWhatNpmWrites(t *testing.T) {
	want := []finding.Package{
		{Ecosystem: "npm", Name: "@d/d", Version: "2.0.0", PURL: "pkg:npm/%40d/d@2.0.0", Direct: true, Dev: true},
		{Ecosystem: "npm", Name: "a", Version: "1.0.0", PURL: "pkg:npm/a@1.0.0", Direct: true, Requires: []string{"b"}, Licenses: []string{"MIT"}},
		{Ecosystem: "npm", Name: "b", Version: "1.5.0", PURL: "pkg:npm/b@1.5.0"},
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"package.json": npmManifest, "package-lock.json": npmLock} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []Format{CycloneDX, SPDX} {
		kept, err := os.ReadFile("testdata/npm-11." + string(format) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		answers := [][]byte{kept}
		cmd := exec.Command(need.Program(t, "npm"), "sbom", "--package-lock-only", "--offline", "--sbom-format", string(format))
		cmd.Dir = dir
		if out, err := cmd.Output(); err == nil {
			answers = append(answers, out)
		} else {
			t.Logf("this npm has no sbom command: %v", err)
		}
		for _, out := range answers {
			d, err := Read(bytes.NewReader(out))
			if err != nil {
				t.Fatal(err)
			}
			byName := cmpopts.SortSlices(func(a, b finding.Package) bool { return a.Name < b.Name })
			if diff := cmp.Diff(want, d.Packages, byName, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(finding.Package{}, "Location")); diff != "" {
				t.Errorf("%s (-want +got):\n%s\n%s", format, diff, out)
			}
			if d.Name != "shop" || d.Version != "1.0.0" {
				t.Errorf("%s describes %s %s", format, d.Name, d.Version)
			}
		}
	}
}

const (
	npmManifest = `{"name":"shop","version":"1.0.0","dependencies":{"a":"1.0.0"},"devDependencies":{"@d/d":"2.0.0"}}`
	npmLock     = `{"name":"shop","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"shop","version":"1.0.0","dependencies":{"a":"1.0.0"},"devDependencies":{"@d/d":"2.0.0"}},
		"node_modules/a":{"version":"1.0.0","license":"MIT","dependencies":{"b":"^1"}},"node_modules/b":{"version":"1.5.0"},"node_modules/@d/d":{"version":"2.0.0","dev":true}}}`
)

func TestRefused(t *testing.T) {
	deep := strings.Repeat(`{"type":"library","name":"x","components":[`, 70) + strings.Repeat("]}", 70)
	for name, in := range map[string]string{
		"nothing": "", "other JSON": "{}", "not JSON": "<bom/>", "cut off": `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{`,
		"CycloneDX 2": `{"bomFormat":"CycloneDX","specVersion":"2.0"}`, "SPDX 3": `{"spdxVersion":"SPDX-3.0"}`,
		"a list where text belongs": `{"spdxVersion":"SPDX-2.3","packages":[{"name":[]}]}`,
		"components without end":    `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + deep + `]}`,
	} {
		if d, err := Read(strings.NewReader(in)); err == nil {
			t.Errorf("%s: read as %+v", name, d)
		}
	}
	for name, d := range map[string]Document{"without a name": {Serial: shop().Serial}, "without a serial": {Name: "x"}} {
		if err := Write(&bytes.Buffer{}, SPDX, d); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	if err := Write(&bytes.Buffer{}, "swid", shop()); err == nil {
		t.Error("an unknown format was written")
	}
}

func FuzzRead(f *testing.F) {
	for _, format := range []Format{CycloneDX, SPDX} {
		var b bytes.Buffer
		if err := Write(&b, format, shop()); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		d.Name, d.Serial = "x", shop().Serial
		if err := Write(&bytes.Buffer{}, CycloneDX, d); err != nil {
			t.Fatal(err)
		}
		if err := Write(&bytes.Buffer{}, SPDX, d); err != nil {
			t.Fatal(err)
		}
	})
}
