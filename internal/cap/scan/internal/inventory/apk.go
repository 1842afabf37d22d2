package inventory

import (
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// apkInstalled reads the database of Alpine's apk: records of "P:name" lines, with an empty line between them (apk-package(5)).
// Advisories name the origin, which is Source here.
func apkInstalled(f *file) error {
	if f.os.id == "" {
		f.bad(0, noRelease)
	}
	var p finding.Package
	start, n, arch := 0, 0, ""
	flush := func() {
		if start == 0 {
			return
		}
		if p.Name == "" || p.Version == "" {
			f.bad(start, "a package without a name or version")
		} else {
			if p.Source == "" {
				p.Source = p.Name
			}
			p.Ecosystem, p.SourceVersion = f.os.ecosystem(), p.Version
			f.addAt(f.path, start, p, present(map[string]string{"arch": arch, "distro": f.os.distro()}))
		}
		p, start, arch = finding.Package{}, 0, ""
	}
	for line := range strings.Lines(string(f.data)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			flush()
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			flush()
			return fmt.Errorf("line %d: not a field and its value", n)
		}
		if start == 0 {
			start = n
		}
		switch value := line[2:]; line[0] {
		case 'P':
			p.Name = value
		case 'V':
			p.Version = value
		case 'A':
			arch = value
		case 'o':
			p.Source = value
		case 'L':
			p.Licenses = []string{value}
		case 'D':
			for d := range strings.FieldsSeq(value) {
				if name, _, _ := strings.Cut(d, "="); !strings.ContainsAny(name, ":!/") { // the others are libraries, commands, conflicts
					p.Requires = append(p.Requires, strings.TrimRight(name, "<>~"))
				}
			}
		}
	}
	flush()
	return nil
}
