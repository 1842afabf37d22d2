// Package rpmdb reads rpm's database in its three forms: Berkeley DB's hash, ndb and SQLite, straight from their bytes.
//
// Guarantee: each record is given once, in time and memory linear in the file, or there is an error; no SQL and no other program runs.
// Not guaranteed: what a write-ahead log beside the file holds; records that rpm itself would find damaged by their checksums.
package rpmdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Package is one installed package. Versions are [epoch:]version-release, without an epoch of 0.
type Package struct {
	Name, Version, Arch   string
	Source, SourceVersion string // of the source package; the version without an epoch
	License               string
	Requires              []string // packages only, no files, libraries or features of rpm
}

// Read gives every package of a database to each, and the error in its place where one can't be read; an error of each ends it.
func Read(data []byte, each func(Package, error) error) error {
	blob := func(b []byte) error { return each(header(b)) }
	var err error
	switch {
	case strings.HasPrefix(string(data), sqliteMagic):
		err = sqliteBlobs(data, "Packages", blob)
	case len(data) > 32 && binary.LittleEndian.Uint32(data) == ndbMagic:
		err = ndbBlobs(data, blob)
	case len(data) > 512 && (binary.LittleEndian.Uint32(data[12:]) == bdbHashMagic || binary.BigEndian.Uint32(data[12:]) == bdbHashMagic):
		err = bdbBlobs(data, blob)
	default:
		err = errors.New("neither SQLite, ndb nor Berkeley DB's hash")
	}
	if err != nil {
		return fmt.Errorf("read rpm's database: %w", err)
	}
	return nil
}

// header reads a package's header (the format of rpm v4, without its lead): an index of tags, then the store of their values.
func header(b []byte) (p Package, err error) {
	if len(b) < 8 {
		return p, errors.New("the header is cut off")
	}
	tags, size := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
	if tags > 1<<16 || size > 256<<20 || 8+tags*16+size > len(b) {
		return p, errors.New("the header is longer than its record")
	}
	store := b[8+tags*16:][:size]
	var release, epoch, source string
	for i := range tags {
		entry := b[8+i*16:]
		tag, kind, count := binary.BigEndian.Uint32(entry), binary.BigEndian.Uint32(entry[4:]), binary.BigEndian.Uint32(entry[12:])
		offset := int(binary.BigEndian.Uint32(entry[8:]))
		if offset < 0 || offset > len(store) {
			return p, errors.New("a value outside of the header")
		}
		value := func() string {
			text, _, _ := strings.Cut(string(store[offset:min(len(store), offset+4096)]), "\x00")
			return text
		}
		switch tag {
		case 1000:
			p.Name = value()
		case 1001:
			p.Version = value()
		case 1002:
			release = value()
		case 1003:
			if kind == 4 && count > 0 && offset+4 <= len(store) {
				epoch = strconv.Itoa(int(binary.BigEndian.Uint32(store[offset:])))
			}
		case 1014:
			p.License = value()
		case 1022:
			p.Arch = value()
		case 1044:
			source = value()
		case 1049:
			p.Requires = requires(store[offset:], count)
		}
	}
	if p.Name == "" || p.Version == "" {
		return p, errors.New("a package without a name or version")
	}
	p.Version += "-" + release
	if epoch != "" && epoch != "0" {
		p.Version = epoch + ":" + p.Version
	}
	p.Source, p.SourceVersion = p.Name, p.Version
	// "bash-5.1.8-6.el9.src.rpm"
	parts := strings.Split(strings.TrimSuffix(strings.TrimSuffix(source, ".rpm"), ".src"), "-")
	if n := len(parts); n > 2 {
		p.Source, p.SourceVersion = strings.Join(parts[:n-2], "-"), parts[n-2]+"-"+parts[n-1]
	}
	return p, nil
}

// requires are the packages among what is required; the others are files, libraries and features of rpm.
func requires(store []byte, count uint32) []string {
	var names []string
	for range min(count, 4096) {
		name, _, ok := strings.Cut(string(store[:min(len(store), 1024)]), "\x00")
		if !ok {
			break
		}
		store = store[len(name)+1:]
		if !strings.ContainsAny(name, "/(") && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

const ndbMagic = 'R' | 'p'<<8 | 'm'<<16 | 'P'<<24

// ndbBlobs calls each with every record of an ndb file: pages of slots, which point at blobs in blocks of 16 bytes.
func ndbBlobs(data []byte, each func([]byte) error) error {
	le := binary.LittleEndian
	const page, slot, slotMagic, blobMagic = 4096, 16, 'S' | 'l'<<8 | 'o'<<16 | 't'<<24, 'B' | 'l'<<8 | 'b'<<16 | 'S'<<24
	pages := int64(le.Uint32(data[12:]))
	end := pages * page
	if pages == 0 || end > int64(len(data)) {
		return errors.New("its slots are cut off")
	}
	var total int64
	for at := int64(2 * slot); at < end; at += slot {
		index, block := le.Uint32(data[at+4:]), int64(le.Uint32(data[at+8:]))*16
		if le.Uint32(data[at:]) != slotMagic {
			return errors.New("a slot without its mark")
		}
		if index == 0 || block == 0 {
			continue
		}
		if block+16 > int64(len(data)) || le.Uint32(data[block:]) != blobMagic || le.Uint32(data[block+4:]) != index {
			return errors.New("a slot that points at no blob of its package")
		}
		size := int64(le.Uint32(data[block+12:]))
		if total += size; block+16+size > int64(len(data)) || total > int64(len(data)) {
			return errors.New("a blob longer than the file")
		}
		if err := each(data[block+16:][:size]); err != nil {
			return err
		}
	}
	return nil
}

const bdbHashMagic = 0x061561

// bdbBlobs calls each with every value of a Berkeley DB hash (versions 3 to 5), whatever its byte order. Values of any size stand in
// chains of overflow pages.
func bdbBlobs(data []byte, each func([]byte) error) error {
	var order binary.ByteOrder = binary.LittleEndian
	if binary.BigEndian.Uint32(data[12:]) == bdbHashMagic {
		order = binary.BigEndian
	}
	const head, hashUnsorted, hashSorted, overflow, offPage = 26, 2, 13, 7, 3
	size := int(order.Uint32(data[20:]))
	if size < 512 || size > 64<<10 || size&(size-1) != 0 {
		return errors.New("the page size isn't one")
	}
	if data[24] != 0 {
		return errors.New("it is encrypted")
	}
	pages := len(data) / size
	followed := 0
	for n := 1; n < pages; n++ {
		page := data[n*size:][:size]
		if page[25] != hashUnsorted && page[25] != hashSorted {
			continue
		}
		entries := int(order.Uint16(page[20:]))
		if head+2*entries > size {
			return fmt.Errorf("page %d has more entries than room", n)
		}
		for i := 1; i < entries; i += 2 { // keys and values take turns
			at := int(order.Uint16(page[head+2*i:]))
			if at+12 > size || page[at] != offPage {
				continue // a short value: the counter of packages
			}
			next, length := int(order.Uint32(page[at+4:])), int(order.Uint32(page[at+8:]))
			var blob []byte
			for next != 0 {
				if followed++; next >= pages || followed > pages || data[next*size+25] != overflow {
					return errors.New("a chain of overflow pages that leads nowhere")
				}
				part := data[next*size:][:size]
				next = int(order.Uint32(part[16:]))
				used := size - head
				if next == 0 {
					used = min(used, int(order.Uint16(part[22:])))
				}
				blob = append(blob, part[head:head+used]...)
			}
			if length > len(blob) {
				return errors.New("a value that is cut off")
			}
			if err := each(blob[:length]); err != nil {
				return err
			}
		}
	}
	return nil
}
