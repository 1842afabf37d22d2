package inventory

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

const noRelease = "there is no os-release: its packages can't be matched with a distribution's advisories"

// osRelease is what /etc/os-release says (os-release(5)).
type osRelease struct{ id, version, codename, cpe string }

// release reads os-release from its two places; a tree without one has no distribution.
func (w *walk) release() osRelease {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		data, err := w.load(name, 1<<20)
		if err != nil {
			continue // etc/os-release is often a link, which isn't followed: its target is tried next
		}
		var r osRelease
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			value = strings.Trim(value, `"'`)
			switch key {
			case "ID":
				r.id = value
			case "VERSION_ID":
				r.version = value
			case "VERSION_CODENAME":
				r.codename = value
			case "CPE_NAME":
				r.cpe = value
			}
		}
		return r
	}
	return osRelease{}
}

// ecosystem is OSV's name for the distribution, with its release, and the namespace of its package URLs; ID itself if OSV has none.
func (r osRelease) ecosystem() string {
	name, ok := map[string]string{
		"debian": "Debian", "ubuntu": "Ubuntu", "alpine": "Alpine", "wolfi": "Wolfi", "chainguard": "Chainguard", "rocky": "Rocky Linux", "almalinux": "AlmaLinux",
		"opensuse-leap": "openSUSE", "sles": "SUSE", "mageia": "Mageia", "openEuler": "openEuler", "azurelinux": "Azure Linux", "mariner": "Azure Linux", "rhel": "Red Hat",
	}[r.id]
	switch {
	case r.id == "rhel":
		if _, suffix, ok := strings.Cut(r.cpe, ":redhat:"); ok {
			return name + ":" + suffix
		}
		return name
	case !ok:
		return strings.TrimSuffix(r.id+":"+r.version, ":")
	}
	return name + purl.Release(name, r.version)
}

// distro is the qualifier of a package URL.
func (r osRelease) distro() string {
	if r.id == "" || r.version == "" {
		return r.id
	}
	return r.id + "-" + r.version
}

// dpkgStatus reads /var/lib/dpkg/status (dpkg(1)).
func dpkgStatus(f *file) error { return dpkg(f, true) }

// dpkgDistroless reads a file of /var/lib/dpkg/status.d, where images without dpkg keep one stanza each and no Status.
func dpkgDistroless(f *file) error { return dpkg(f, false) }

func dpkg(f *file, needStatus bool) error {
	if f.os.id == "" {
		f.bad(0, noRelease)
	}
	return stanzas(f.data, func(line int, fields map[string]string) error {
		p := finding.Package{Ecosystem: f.os.ecosystem(), Name: fields["package"], Version: fields["version"]}
		status, said := fields["status"]
		if said || needStatus {
			words := strings.Fields(status)
			if len(words) != 3 {
				f.bad(line, fmt.Sprintf("package %.80q has the status %.80q", p.Name, status))
				return nil
			}
			// The other states (unpacked, half-configured, triggers-…) have its files in place.
			if slices.Contains([]string{"not-installed", "config-files"}, words[2]) {
				return nil
			}
		}
		if p.Name == "" || p.Version == "" {
			f.bad(line, "a package without a name or version")
			return nil
		}
		p.Source, p.SourceVersion = p.Name, p.Version
		if source, version, ok := strings.Cut(fields["source"], "("); source != "" {
			p.Source = strings.TrimSpace(source)
			if ok {
				p.SourceVersion = strings.TrimSuffix(strings.TrimSpace(version), ")")
			}
		}
		p.Requires = debianNames(fields["pre-depends"] + "," + fields["depends"])
		qualifiers := map[string]string{"arch": fields["architecture"], "distro": f.os.distro()}
		f.addAt(f.path, line, p, present(qualifiers))
		return nil
	})
}

// debianNames are the packages of a Depends field (Debian Policy 7.1), alternatives included.
func debianNames(depends string) []string {
	var names []string
	for one := range strings.FieldsFuncSeq(depends, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(one), " ")
		name, _, _ = strings.Cut(name, ":")
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// present drops what is empty.
func present(m map[string]string) map[string]string {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

// stanzas reads paragraphs of "Field: value" lines (deb822(5)), with lower-case keys; each gets the line that a paragraph starts at.
// Continued lines of the fields that matter here belong to their field; a line that is neither is an error.
func stanzas(data []byte, each func(line int, fields map[string]string) error) error {
	fields, start, key, n := map[string]string{}, 0, "", 0
	for len(data) > 0 {
		var raw []byte
		raw, data, _ = bytes.Cut(data, []byte("\n"))
		n++
		line := string(bytes.TrimRight(raw, "\r"))
		switch {
		case strings.TrimSpace(line) == "":
			if len(fields) > 0 {
				if err := each(start, fields); err != nil {
					return err
				}
			}
			fields, start, key = map[string]string{}, 0, ""
		case line[0] == ' ' || line[0] == '\t':
			if key == "" {
				return fmt.Errorf("line %d: a continued line without a field before it", n)
			}
			if key == "depends" || key == "pre-depends" {
				fields[key] += line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.ContainsRune(line, 0) {
				return fmt.Errorf("line %d: not a field and its value", n)
			}
			if start == 0 {
				start = n
			}
			key = strings.ToLower(name)
			fields[key] = strings.TrimSpace(value)
		}
	}
	if len(fields) > 0 {
		return each(start, fields)
	}
	return nil
}
