package rpmdb

import (
	"encoding/binary"
	"errors"
	"math"
)

const sqliteMagic = "SQLite format 3\x00"

// sqliteBlobs calls each with the blobs in the rows of a table, read straight from the file (the SQLite file format, sections 1 and 2): a
// stranger's database gets no SQL engine to play with, no view and no trigger. A write-ahead log beside the file isn't read.
func sqliteBlobs(data []byte, table string, each func([]byte) error) error {
	if len(data) < 100 {
		return errors.New("the file is cut off")
	}
	d := &sqliteFile{data: data, page: int(binary.BigEndian.Uint16(data[16:]))}
	if d.page == 1 {
		d.page = 64 << 10
	}
	d.usable = d.page - int(data[20])
	if d.page < 512 || d.page&(d.page-1) != 0 || d.usable < 480 {
		return errors.New("the page size isn't one")
	}
	d.left = len(data)/d.page + 1
	root := 0
	err := d.rows(1, 0, func(values []sqliteValue) error {
		if len(values) >= 4 && string(values[0].bytes) == "table" && string(values[1].bytes) == table {
			root = int(values[3].number)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return errors.New("it has no table " + table)
	}
	return d.rows(root, 0, func(values []sqliteValue) error {
		for _, v := range values {
			if v.blob {
				return each(v.bytes)
			}
		}
		return nil
	})
}

type sqliteFile struct {
	data         []byte
	page, usable int
	left         int // pages that may still be read: each is needed once, and a circle needs more
}

type sqliteValue struct {
	number int64
	bytes  []byte
	blob   bool
}

// at is a page, from 1.
func (d *sqliteFile) at(n int) ([]byte, error) {
	if d.left--; d.left < -1 || n < 1 || n > len(d.data)/d.page {
		return nil, errors.New("a page that isn't there, or is met twice")
	}
	return d.data[(n-1)*d.page:][:d.usable], nil
}

// rows goes through a table's b-tree.
func (d *sqliteFile) rows(n, depth int, each func([]sqliteValue) error) error {
	page, err := d.at(n)
	if err != nil {
		return err
	}
	head := page
	if n == 1 {
		head = page[100:]
	}
	const leaf, interior = 0x0d, 0x05
	pointers := 8
	if head[0] == interior {
		pointers = 12
	} else if head[0] != leaf {
		return errors.New("a page that belongs to no table")
	}
	cells := int(binary.BigEndian.Uint16(head[3:]))
	if pointers+2*cells > len(head) || depth > 20 {
		return errors.New("a page with more cells than room, or too deep a tree")
	}
	for i := range cells {
		at := int(binary.BigEndian.Uint16(head[pointers+2*i:]))
		if at+4 > len(page) {
			return errors.New("a cell outside of its page")
		}
		if head[0] == interior {
			err = d.rows(int(binary.BigEndian.Uint32(page[at:])), depth+1, each)
		} else {
			err = d.cell(page, at, each)
		}
		if err != nil {
			return err
		}
	}
	if head[0] == interior {
		return d.rows(int(binary.BigEndian.Uint32(head[8:])), depth+1, each)
	}
	return nil
}

// cell reads a row of a leaf, with its overflow pages.
func (d *sqliteFile) cell(page []byte, at int, each func([]sqliteValue) error) error {
	size, n := sqliteVarint(page[at:])
	_, m := sqliteVarint(page[min(at+n, len(page)):])
	at += n + m
	if size < 0 || size > int64(len(d.data)) || n == 0 || m == 0 {
		return errors.New("a row longer than the file")
	}
	local := int(size)
	if local > d.usable-35 {
		least := (d.usable-12)*32/255 - 23
		local = least + (int(size)-least)%(d.usable-4)
		if local > d.usable-35 {
			local = least
		}
	}
	if at+local > len(page) {
		return errors.New("a row outside of its page")
	}
	payload := page[at : at+local]
	if local < int(size) {
		if at+local+4 > len(page) {
			return errors.New("a row outside of its page")
		}
		payload = append([]byte(nil), payload...)
		next := int(binary.BigEndian.Uint32(page[at+local:]))
		for len(payload) < int(size) {
			more, err := d.at(next)
			if err != nil {
				return err
			}
			payload = append(payload, more[4:min(len(more), 4+int(size)-len(payload))]...)
			next = int(binary.BigEndian.Uint32(more))
		}
	}
	values, err := sqliteRecord(payload)
	if err != nil {
		return err
	}
	return each(values)
}

// sqliteRecord parts a row into its values.
func sqliteRecord(b []byte) ([]sqliteValue, error) {
	wrong := errors.New("a row whose values are cut off")
	size, n := sqliteVarint(b)
	if n == 0 || size < int64(n) || size > int64(len(b)) {
		return nil, wrong
	}
	types, body := b[n:size], b[size:]
	var values []sqliteValue
	for len(types) > 0 {
		kind, n := sqliteVarint(types)
		if n == 0 || kind < 0 {
			return nil, wrong
		}
		types = types[n:]
		length := int64(0)
		switch {
		case kind >= 12:
			length = (kind - 12) / 2
		case kind <= 4:
			length = kind
		case kind == 5:
			length = 6
		case kind <= 7:
			length = 8
		}
		if length > int64(len(body)) {
			return nil, wrong
		}
		v := sqliteValue{bytes: body[:length], blob: kind >= 12 && kind%2 == 0}
		if kind >= 1 && kind <= 6 {
			for _, c := range v.bytes {
				v.number = v.number<<8 | int64(c)
			}
		}
		if v.number > math.MaxInt32 {
			v.number = 0 // no page
		}
		values, body = append(values, v), body[length:]
	}
	return values, nil
}

// sqliteVarint reads a number of one to nine bytes; n is 0 if it is cut off.
func sqliteVarint(b []byte) (v int64, n int) {
	for i, c := range b {
		if i == 8 {
			return v<<8 | int64(c), 9
		}
		v = v<<7 | int64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
