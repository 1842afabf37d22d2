package distro

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const (
	maxUnpacked  = 8 << 30
	maxChangelog = 32 << 20
	maxLine      = 1 << 20
)

// read takes over a list of packages; of several versions the highest counts.
func (a *Archive) read(b []byte) error {
	return stanzas(bytes.NewReader(b), func(f map[string]string) error {
		n := build{version: f["Version"], source: f["Package"], sourceVersion: f["Version"], file: f["Filename"], hash: f["SHA256"]}
		if s, v, ok := strings.Cut(f["Source"], "("); s != "" {
			n.source = strings.TrimSpace(s)
			if ok {
				n.sourceVersion = strings.TrimSuffix(strings.TrimSpace(v), ")")
			}
		}
		var err error
		if n.size, err = strconv.ParseInt(f["Size"], 10, 64); err != nil || n.size > maxDeb {
			return fmt.Errorf("the size of %s: %q", f["Package"], f["Size"])
		}
		if old, ok := a.binaries[f["Package"]]; ok {
			order, err := compare(n.version, old.version)
			if err != nil {
				return fmt.Errorf("%s: %w", f["Package"], err)
			}
			if order <= 0 {
				return nil
			}
		}
		a.binaries[f["Package"]] = n
		return nil
	})
}

// stanzas reads paragraphs of fields (deb822(5)); continued lines follow their field's value, each on its own.
func stanzas(r io.Reader, each func(map[string]string) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	fields, key := map[string]string{}, ""
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		f := fields
		fields, key = map[string]string{}, ""
		return each(f)
	}
	for in.Scan() {
		line := in.Text()
		name, value, ok := strings.Cut(line, ":")
		switch {
		case strings.TrimSpace(line) == "":
			if err := flush(); err != nil {
				return err
			}
		case line[0] == ' ' || line[0] == '\t':
			if key == "SHA256" { // the others' continuations don't matter here
				fields[key] += line + "\n"
			}
		case !ok:
			return fmt.Errorf("%.80q is no field", line)
		default:
			key = name
			fields[key] = strings.TrimSpace(value)
			if key == "SHA256" && fields[key] == "" {
				fields[key] = "\n"
			}
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return flush()
}

// entry is one version of a changelog.
type entry struct {
	version string
	cves    []string
}

// readDeb finds the changelog in a package (deb(5)): an ar archive, with a tar archive of the files in it.
func readDeb(b []byte) ([]entry, error) {
	rest, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	if !ok {
		return nil, errors.New("no Debian package")
	}
	for len(rest) >= 60 {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.ParseInt(strings.TrimSpace(string(rest[48:58])), 10, 64)
		rest = rest[60:]
		if err != nil || size < 0 || size > int64(len(rest)) {
			return nil, errors.New("a truncated Debian package")
		}
		if form, ok := strings.CutPrefix(name, "data.tar"); ok {
			return readData(form, rest[:size])
		}
		rest = rest[min(size+size%2, int64(len(rest))):]
	}
	return nil, errors.New("a Debian package without files")
}

func readData(form string, b []byte) ([]entry, error) {
	var r io.Reader = bytes.NewReader(b)
	var err error
	switch form {
	case "":
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err == nil {
			defer z.Close()
			r = z
		}
	default:
		err = fmt.Errorf("data.tar%s", form)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	in := tar.NewReader(io.LimitReader(r, maxUnpacked))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil, nil // its documentation is another package's
		}
		if err != nil {
			return nil, fmt.Errorf("read the files: %w", err)
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || !strings.HasPrefix(name, "usr/share/doc/") {
			continue
		}
		if path.Dir(path.Dir(name)) != "usr/share/doc" {
			continue
		}
		// A package without a Debian revision has its one changelog under upstream's name, in the same form; another's has no entries.
		switch path.Base(name) {
		case "changelog.Debian.gz":
			return readLog(in)
		case "changelog.gz":
			if out, err := readLog(in); err != nil || len(out) > 0 {
				return out, err
			}
		}
	}
}

// readLog reads a compressed changelog (deb-changelog(5)), newest entry first.
func readLog(r io.Reader) ([]entry, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the changelog: %w", err)
	}
	limited := &io.LimitedReader{R: z, N: maxChangelog}
	in := bufio.NewScanner(limited)
	in.Buffer(nil, maxLine)
	head, cve := regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]* \(([^()\s]+)\)( |;)`), regexp.MustCompile(`CVE-\d{4}-\d{4,}`)
	var out []entry
	for in.Scan() {
		if m := head.FindStringSubmatch(in.Text()); m != nil {
			out = append(out, entry{version: m[1]})
		} else if n := len(out); n > 0 {
			out[n-1].cves = append(out[n-1].cves, cve.FindAllString(in.Text(), -1)...)
		}
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("a changelog of more than %d bytes", maxChangelog)
	}
	return out, in.Err()
}
