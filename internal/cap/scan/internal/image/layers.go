package image

import (
	"io"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const maxDatabase = 64 << 20

// database tells whether a file lists all installed packages.
func database(name string) bool {
	return slices.Contains([]string{"var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"}, name)
}

// Layers fills Layer of packages that were found in the image: by the file that names each. Where one file names them all (dpkg, apk), it is the layer
// in which this version of the package was first in it.
func (img *Image) Layers(packages []finding.Package) {
	sets := map[string][]map[string]bool{}
	for i := range packages {
		p := &packages[i]
		if l, ok := img.LayerOf(p.Location.Path); ok {
			p.Layer = l.Digest
		}
		past := img.tree.past[p.Location.Path]
		if len(past) < 2 {
			continue
		}
		if sets[p.Location.Path] == nil {
			for _, n := range past {
				sets[p.Location.Path] = append(sets[p.Location.Path], img.installed(n))
			}
		}
		key := p.Name + " " + p.Version
		for j, set := range slices.Backward(sets[p.Location.Path]) {
			if !set[key] {
				break
			}
			p.Layer = img.layers[past[j].layer].Digest
		}
	}
}

// installed are the names and versions of a database. What it can't read is missing, so that the layer above counts.
func (img *Image) installed(n *node) map[string]bool {
	out := map[string]bool{}
	b, err := io.ReadAll(io.NewSectionReader(img.tree.data, n.off, min(n.size, maxDatabase)))
	if err != nil {
		return out
	}
	var name, version string
	for line := range strings.Lines(string(b) + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case line == "":
			out[name+" "+version] = true
			name, version = "", ""
		case field == "P" || strings.EqualFold(field, "Package"):
			name = value
		case field == "V" || strings.EqualFold(field, "Version"):
			version = value
		case strings.EqualFold(field, "Status") && (strings.HasSuffix(value, "not-installed") || strings.HasSuffix(value, "config-files")):
			name = "" // it isn't there
		}
	}
	return out
}
