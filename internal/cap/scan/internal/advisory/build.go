package advisory

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/flat"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/order"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/osv"
)

// maxProblems is how many of the entries that can't be read are named.
const maxProblems = 20

// Source is where advisories come from.
type Source struct {
	// Location is a .json or .zip file, a folder with either at any depth, or an http(s) URL of either. With Ecosystems it is a mirror's base:
	// each BASE/<Ecosystem>/all.zip is read, as osv.dev lays them out.
	Location   string
	Ecosystems []string
}

// Options of Build.
type Options struct {
	Clock  clock.Clock  // nil for the system's
	Client *http.Client // nil for http.DefaultClient
	// Key is the file of the signing key, which is made if there is none; "" for dst + ".key". It is readable for its owner alone.
	Key string
	// EPSS is FIRST's list as CSV, plain or gzip, and KEV is CISA's catalogue as JSON: files or URLs, "" for none.
	EPSS, KEV string
}

// Build reads the sources and puts the index of them at dst, and the key that Open trusts at dst + ".pub". An entry that can't be read is
// counted and named in Info; a source that can't be read, or holds no advisory at all, is an error, and leaves dst as it was.
// Where several sources have an entry, the one that was modified last counts.
func Build(ctx context.Context, dst string, sources []Source, opts Options) (Info, error) {
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	if opts.Client == nil {
		opts.Client = http.DefaultClient
	}
	if opts.Key == "" {
		opts.Key = dst + ".key"
	}
	key, err := signingKey(opts.Key)
	if err != nil {
		return Info{}, fmt.Errorf("open signing key: %w", err)
	}
	b := &builder{entries: map[string]*compiled{}, info: Info{Built: opts.Clock.Now().UTC().Truncate(time.Second)}}
	reader := &osv.Reader{Client: opts.Client, Now: opts.Clock.Now}
	if b.exploit, err = readExploitation(ctx, reader, opts); err != nil {
		return Info{}, err
	}
	for _, s := range sources {
		if err := b.read(ctx, reader, s); err != nil {
			return Info{}, fmt.Errorf("read advisories of %s: %w", osv.Bare(s.Location), err)
		}
	}
	sections, err := b.assemble()
	if err != nil {
		return Info{}, err
	}
	if err := flat.Write(dst, key, sections); err != nil {
		return Info{}, fmt.Errorf("write index: %w", err)
	}
	if err := writePublic(dst, publicOf(key)); err != nil {
		return Info{}, fmt.Errorf("write key: %w", err)
	}
	return b.info, nil
}

// compiled is an advisory on its way into the index.
type compiled struct {
	id       string
	modified time.Time
	record   []byte
	affected []compiledAffected
	original []byte // of Go entries, compressed
	bad      bool   // it is malicious
}

type compiledAffected struct {
	key, ecosystem string // the ecosystem with its release
	rest           []byte
}

// compare orders forms of one advisory: by time, and those of one time in some order that doesn't depend on who came first.
func (c *compiled) compare(o *compiled) int {
	return cmp.Or(c.modified.Compare(o.modified), bytes.Compare(c.record, o.record), slices.CompareFunc(c.affected, o.affected, func(x, y compiledAffected) int {
		return cmp.Or(strings.Compare(x.key, y.key), bytes.Compare(x.rest, y.rest))
	}))
}

type builder struct {
	exploit   exploitation
	deflaters sync.Pool  // of *flate.Writer
	mu        sync.Mutex // guards all below while entries are compiled
	entries   map[string]*compiled
	info      Info
	source    SourceInfo
}

func (b *builder) read(ctx context.Context, reader *osv.Reader, s Source) error {
	b.source = SourceInfo{}
	origin, err := reader.Read(ctx, s.Location, s.Ecosystems, b.take)
	if err != nil {
		return err
	}
	if b.source.Advisories == 0 {
		return errors.New("there is no advisory in it that can be read")
	}
	b.source.Location, b.source.SHA256, b.source.Ecosystems = origin.Location, origin.SHA256, s.Ecosystems
	b.source.Time = b.source.Modified
	if origin.Fetched || b.source.Time.IsZero() {
		b.source.Time = origin.Time
	}
	b.source.Time = b.source.Time.Truncate(time.Second)
	b.info.Sources = append(b.info.Sources, b.source)
	return nil
}

// take compiles one entry. It may run concurrently.
func (b *builder) take(name string, body []byte, err error) {
	var e *osv.Entry
	var c *compiled
	if err == nil {
		e, err = osv.Parse(body)
	}
	if err == nil && e.Withdrawn == "" {
		c = b.compile(e, body)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		b.info.Unreadable++
		if len(b.info.Problems) < maxProblems {
			b.info.Problems = append(b.info.Problems, fmt.Sprintf("%.200s: %.200s", name, err))
		}
		return
	case e.Withdrawn != "":
		b.source.Withdrawn++
		c = &compiled{id: e.ID, modified: e.Modified} // hides an older form of itself from another source
	}
	b.source.Advisories++
	// One date to come, which is somebody's typo, must not make all of the data look fresh, or unusable.
	if e.Modified.After(b.source.Modified) && e.Modified.Before(b.info.Built.Add(24*time.Hour)) {
		b.source.Modified = e.Modified.UTC()
	}
	if old := b.entries[e.ID]; old == nil || old.compare(c) < 0 {
		b.entries[e.ID] = c
	}
}

func (b *builder) compile(e *osv.Entry, original []byte) *compiled {
	rec := record{id: e.ID, aliases: e.Aliases, title: title(e), malicious: e.Malicious()}
	for _, up := range e.Upstream { // "DEBIAN-CVE-2024-1" is that CVE; an advisory of several is none of them
		if strings.HasSuffix(e.ID, "-"+up) && !slices.Contains(rec.aliases, up) {
			rec.aliases = append(rec.aliases, up)
		}
	}
	rec.rate(e)
	for _, id := range slices.Concat([]string{e.ID}, e.Aliases, e.Upstream) {
		rec.epss = max(rec.epss, b.exploit.epss[id])
		rec.exploited = rec.exploited || b.exploit.kev[id]
	}
	c := &compiled{id: e.ID, modified: e.Modified, record: rec.encode(), bad: rec.malicious}
	goEntry := false
	for i := range e.Affected {
		a := &e.Affected[i]
		if a.Package.Name == "" || a.Package.Ecosystem == "" {
			continue
		}
		name, _ := order.Split(a.Package.Ecosystem)
		goEntry = goEntry || name == "Go"
		c.affected = append(c.affected, compiledAffected{string(appendKey(nil, name, a.Package.Name)), canonical(a.Package.Ecosystem), appendAffected(nil, a)})
	}
	if goEntry && strings.HasPrefix(e.ID, "GO-") {
		c.original = b.deflate(original)
	}
	return c
}

// canonical is an ecosystem with its release in the form that is compared.
func canonical(ecosystem string) string {
	name, release := order.Split(ecosystem)
	if release == "" {
		return name
	}
	return name + ":" + release
}

func (b *builder) deflate(original []byte) []byte {
	var compact, out bytes.Buffer
	if json.Compact(&compact, original) != nil {
		return nil // it was parsed a moment ago
	}
	w, _ := b.deflaters.Get().(*flate.Writer)
	if w == nil {
		w, _ = flate.NewWriter(nil, 3)
	}
	defer b.deflaters.Put(w)
	w.Reset(&out)
	w.Write(compact.Bytes()) //nolint:errcheck // a buffer takes all
	w.Close()                //nolint:errcheck // likewise
	return out.Bytes()
}

// assemble lays the sections out. Equal data gives equal bytes.
func (b *builder) assemble() (out [flat.Sections][]byte, err error) {
	all := make([]*compiled, 0, len(b.entries))
	for _, c := range b.entries {
		all = append(all, c)
	}
	slices.SortFunc(all, func(x, y *compiled) int { return cmp.Compare(x.id, y.id) })
	type part struct {
		advisory uint64
		rest     []byte
	}
	groups := map[string][]part{}
	ecosystems := map[string]*EcosystemInfo{}
	for _, c := range all {
		if c.record == nil {
			b.info.Withdrawn++
			continue
		}
		if len(c.affected) == 0 {
			b.info.Unplaced++
			continue
		}
		b.info.Advisories++
		at := uint64(len(out[sectionAdvisories]))
		out[sectionAdvisories] = append(binary.AppendUvarint(out[sectionAdvisories], uint64(len(c.record))), c.record...)
		var counted []*EcosystemInfo
		for _, a := range c.affected {
			groups[a.key] = append(groups[a.key], part{at, a.rest})
			e := ecosystems[a.ecosystem]
			if e == nil {
				e = &EcosystemInfo{Name: a.ecosystem}
				ecosystems[a.ecosystem] = e
			}
			if slices.Contains(counted, e) {
				continue
			}
			if counted = append(counted, e); c.bad {
				e.Malicious++
			} else {
				e.Advisories++
			}
		}
		if c.original != nil {
			out[sectionGo] = appendString(appendString(out[sectionGo], c.id), string(c.original))
		}
	}
	for _, e := range ecosystems {
		b.info.Ecosystems = append(b.info.Ecosystems, *e)
	}
	slices.SortFunc(b.info.Ecosystems, func(x, y EcosystemInfo) int { return cmp.Compare(x.Name, y.Name) })
	slices.Sort(b.info.Problems)
	if len(groups) == 0 {
		return out, errors.New("build index: the sources name no package at all")
	}

	b.info.Packages = len(groups)
	keys := make([]string, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y string) int { return cmp.Or(cmp.Compare(hashKey(x), hashKey(y)), cmp.Compare(x, y)) })
	for _, k := range keys {
		if len(out[sectionGroups]) > math.MaxUint32 {
			return out, errors.New("build index: it is larger than 4 GiB")
		}
		out[sectionKeys] = binary.BigEndian.AppendUint64(out[sectionKeys], hashKey(k))
		out[sectionKeys] = binary.BigEndian.AppendUint32(out[sectionKeys], uint32(len(out[sectionGroups])))
		body := appendString(nil, k)
		body = binary.AppendUvarint(body, uint64(len(groups[k])))
		for _, p := range groups[k] {
			body = append(binary.AppendUvarint(body, p.advisory), p.rest...)
		}
		out[sectionGroups] = append(binary.BigEndian.AppendUint32(out[sectionGroups], uint32(len(body))), body...)
	}
	out[sectionInfo], err = json.Marshal(b.info)
	return out, err
}
