package rpmdb

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record is a header as rpm writes it, with texts and an epoch.
func record(epoch uint32, texts map[uint32]string) []byte {
	var index, store []byte
	add := func(tag, kind uint32, value []byte) {
		for _, v := range []uint32{tag, kind, uint32(len(store)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		store = append(store, value...)
	}
	add(1003, 4, binary.BigEndian.AppendUint32(nil, epoch))
	for tag, text := range texts {
		add(tag, 6, append([]byte(text), 0))
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(index)/16))
	return append(append(binary.BigEndian.AppendUint32(b, uint32(len(store))), index...), store...)
}

func bash() []byte {
	return record(2, map[uint32]string{1000: "bash", 1001: "5.1.8", 1002: "6.el9", 1014: "GPLv3+", 1022: "x86_64", 1044: "bash-src-5.1-6.el9.src.rpm", 1049: "glibc"})
}

// ndb is a database of one package.
func ndb(blob []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 4096+16)
	le.PutUint32(b, ndbMagic)
	le.PutUint32(b[12:], 1)
	for at := 32; at < 4096; at += 16 {
		copy(b[at:], "Slot")
	}
	le.PutUint32(b[32+4:], 1)
	le.PutUint32(b[32+8:], 4096/16)
	copy(b[4096:], "BlbS")
	le.PutUint32(b[4096+4:], 1)
	le.PutUint32(b[4096+12:], uint32(len(blob)))
	return append(b, blob...)
}

// bdb is a hash of one value in a chain of overflow pages of 512 bytes.
func bdb(blob []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 1024)
	le.PutUint32(b[12:], bdbHashMagic)
	le.PutUint32(b[20:], 512)
	page := b[512:]
	page[25] = 13
	le.PutUint16(page[20:], 2)
	le.PutUint16(page[26:], 500)
	le.PutUint16(page[28:], 480)
	page[480] = 3
	le.PutUint32(page[484:], 2)
	le.PutUint32(page[488:], uint32(len(blob)))
	for n := uint32(2); len(blob) > 0; n++ {
		part := make([]byte, 512)
		part[25] = 7
		used := copy(part[26:], blob)
		le.PutUint16(part[22:], uint16(used))
		if blob = blob[used:]; len(blob) > 0 {
			le.PutUint32(part[16:], n+1)
		}
		b = append(b, part...)
	}
	return b
}

func TestPackages(t *testing.T) {
	want := Package{
		Name: "bash", Version: "2:5.1.8-6.el9", Arch: "x86_64", Source: "bash-src", SourceVersion: "5.1-6.el9", License: "GPLv3+", Requires: []string{"glibc"},
	}
	long := record(2, map[uint32]string{
		1000: "bash", 1001: "5.1.8", 1002: "6.el9", 1014: "GPLv3+", 1022: "x86_64", 1044: "bash-src-5.1-6.el9.src.rpm", 1049: "glibc", 9999: strings.Repeat("x", 2000),
	})
	for name, data := range map[string][]byte{"ndb": ndb(bash()), "Berkeley DB": bdb(bash()), "Berkeley DB, a long chain": bdb(long)} {
		var got []Package
		err := Read(data, func(p Package, err error) error {
			got = append(got, p)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff([]Package{want}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestDamagedDatabasesAreErrors(t *testing.T) {
	le := binary.LittleEndian
	change := func(data []byte, at int, v uint32) []byte {
		data = append([]byte(nil), data...)
		le.PutUint32(data[at:], v)
		return data
	}
	hash := bdb(append(bash(), make([]byte, 1000)...))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                          {nil, "neither"},
		"ndb: more slots than bytes":       {change(ndb(bash()), 12, 1<<31), "cut off"},
		"ndb: a blob outside":              {change(ndb(bash()), 40, 1<<27), "no blob"},
		"ndb: a blob longer than the file": {change(ndb(bash()), 4096+12, 1000), "longer than the file"},
		"ndb: a broken slot":               {change(ndb(bash()), 64, 7), "without its mark"},
		"Berkeley DB: a circle of pages":   {change(hash, 1024+16, 2), "leads nowhere"},
		"Berkeley DB: a page outside":      {change(hash, 512+484, 999), "leads nowhere"},
		"Berkeley DB: a value cut off":     {change(hash, 512+488, 1<<30), "cut off"},
		"Berkeley DB: no page size":        {change(hash, 20, 777), "page size"},
		"a header cut off":                 {ndb([]byte{0, 0, 0}), "cut off"},
		"a header with a million tags":     {ndb([]byte{0, 16, 0, 0, 0, 0, 0, 0}), "longer than its record"},
		"a header longer than its record":  {ndb([]byte{0, 0, 0, 1, 0, 0, 0, 99, 0, 0, 0, 0}), "longer than its record"},
		"a value outside of the header":    {ndb(append([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 6, 0x7f, 0, 0, 0}, make([]byte, 4)...)), "outside"},
		"SQLite: nothing but the magic":    {[]byte(sqliteMagic), "cut off"},
		"SQLite: no table":                 {sqlite(t, "Other", nil), "no table"},
		"SQLite: a page outside":           {sqlite(t, "Packages", func(b []byte) { b[1024+8+3] = 99 }), "isn't there"},
		"SQLite: a circle of pages":        {sqlite(t, "Packages", func(b []byte) { b[1024+8+3] = 2; copy(b[1024:], b[512:]) }), "met twice"},
	} {
		err := Read(c.data, func(_ Package, err error) error { return err })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(ndb(bash()))
	f.Add(bdb(bash()))
	f.Add(sqlite(f, "Packages", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		stop := errors.New("enough")
		n := 0
		_ = Read(data, func(Package, error) error {
			if n++; n > len(data) {
				return stop
			}
			return nil
		})
		if n > len(data) {
			t.Fatalf("%d packages in %d bytes", n, len(data))
		}
	})
}
