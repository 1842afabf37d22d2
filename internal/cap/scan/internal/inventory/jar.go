package inventory

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const (
	maxArchives    = 16      // archives in archives
	maxArchiveList = 200_000 // entries of one archive
)

// archiveFile reads a Java archive and those in it: each pom.properties names a part (a fat jar has many), else the manifest does, else
// the file's name.
func archiveFile(w *walk, name string) error {
	w.out.Files = append(w.out.Files, name)
	r, size, end, err := w.sized(name)
	if err != nil {
		return err
	}
	defer end()
	a := &archive{walk: w, path: name, left: w.lim.unpacked, parts: newMerged()}
	err = a.read(r, size, path.Base(name), 0)
	for _, p := range a.parts.parts {
		w.addAt(name, 0, p, nil)
	}
	return err
}

type archive struct {
	*walk
	path  string
	left  int64 // bytes that may still be unpacked
	parts *merged
}

func (a *archive) read(r io.ReaderAt, size int64, base string, depth int) error {
	if depth > maxArchives {
		return fmt.Errorf("archives are nested deeper than %d", maxArchives)
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names aren't used as paths
		return fmt.Errorf("read archive %s: %w", clip(base), err)
	}
	if len(z.File) > maxArchiveList {
		return fmt.Errorf("archive %s has more than %d entries", clip(base), maxArchiveList)
	}
	var found, code, nested bool
	var manifest []byte
	for _, f := range z.File {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		switch ext := path.Ext(f.Name); {
		case strings.EqualFold(f.Name, "META-INF/MANIFEST.MF"):
			if manifest, err = a.unpack(f); err != nil {
				return err
			}
		case path.Base(f.Name) == "pom.properties":
			data, err := a.unpack(f)
			if err != nil {
				return err
			}
			props := javaProperties(data, "=")
			if group, artifact, version := props["groupId"], props["artifactId"], props["version"]; group != "" && artifact != "" && version != "" {
				found = true
				a.parts.take(0, finding.Package{Ecosystem: "Maven", Name: group + ":" + artifact, Version: version})
			}
		case ext == ".class":
			code = true
		case ext == ".jar" || ext == ".war" || ext == ".ear" || ext == ".hpi" || ext == ".jpi":
			nested = true
			data, err := a.unpack(f)
			if err != nil {
				return err
			}
			if err := a.read(bytes.NewReader(data), int64(len(data)), path.Base(f.Name), depth+1); err != nil {
				return err
			}
		}
	}
	if !found && (code || manifest != nil || !nested && len(z.File) > 0) { // else it only carries others
		a.fromManifest(javaProperties(bytes.ReplaceAll(manifest, []byte("\r\n "), nil), ":"), base)
	}
	return nil
}

// fromManifest names an archive that no pom.properties names.
func (a *archive) fromManifest(m map[string]string, base string) {
	artifact, version := fileVersion(strings.TrimSuffix(base, path.Ext(base)))
	group := m["Implementation-Vendor-Id"]
	symbolic, _, _ := strings.Cut(m["Bundle-SymbolicName"], ";")
	if symbolic == "" && strings.Count(artifact, ".") > 1 {
		symbolic = artifact // OSGi's bundles are called so
	}
	if at := strings.LastIndexByte(symbolic, '.'); group == "" && at > 0 {
		group = symbolic[:at]
	}
	if version == "" {
		for _, key := range []string{"Implementation-Version", "Bundle-Version", "Specification-Version"} {
			if version == "" {
				version = m[key]
			}
		}
	}
	if strings.ContainsAny(version+artifact, " $\x00") {
		version = ""
	}
	name := group + ":" + artifact
	if group == "" || version == "" {
		a.problem(a.path, 0, fmt.Sprintf("the archive %s doesn't say its Maven group or its version: advisories can't be matched", clip(base)))
		name = strings.TrimPrefix(name, ":")
	}
	a.parts.take(0, finding.Package{Ecosystem: "Maven", Name: name, Version: version})
}

// fileVersion parts "guava-31.1-jre".
func fileVersion(stem string) (artifact, version string) {
	for i := 1; i+1 < len(stem); i++ {
		if stem[i] == '-' && stem[i+1] >= '0' && stem[i+1] <= '9' {
			return stem[:i], stem[i+1:]
		}
	}
	return stem, ""
}

// unpack reads an entry, whatever size it claims.
func (a *archive) unpack(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("open %s in the archive: %w", clip(f.Name), err)
	}
	defer r.Close()
	limit := min(a.left, a.lim.binary)
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", clip(f.Name), err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("unpacked, the archive is %w", tooLarge(limit))
	}
	a.left -= int64(len(data))
	return data, nil
}

// javaProperties reads lines of key and value, as .properties files and manifests have them.
func javaProperties(data []byte, separator string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, separator); ok && !strings.HasPrefix(line, "#") {
			if key = strings.TrimSpace(key); m[key] == "" {
				m[key] = strings.TrimSpace(value)
			}
		}
	}
	return m
}
