package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// jsonReader goes through a JSON document and knows at which line it stands: what a lock file of megabytes needs, in one pass.
type jsonReader struct {
	*json.Decoder
	data []byte
	at   int
	line int
}

func readJSON(data []byte) *jsonReader {
	return &jsonReader{Decoder: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
}

// Line is the line of what was read last, from 1.
func (r *jsonReader) Line() int {
	to := min(int(r.InputOffset()), len(r.data))
	r.line += bytes.Count(r.data[r.at:to], []byte("\n"))
	r.at = to
	return r.line
}

// NextLine is the line at which the next value begins.
func (r *jsonReader) NextLine() int {
	line := r.Line()
	for _, c := range r.data[r.at:] {
		switch c {
		case '\n':
			line++
		case ' ', '\t', '\r', ',', ':':
		default:
			return line
		}
	}
	return line
}

// object calls each with every key of the object that comes next; each must read the value. null is one without keys, unless it is
// the whole document.
func (r *jsonReader) object(each func(key string) error) error {
	at := r.InputOffset()
	t, err := r.Token()
	if err != nil || t == nil && at > 0 {
		return err
	}
	if t != json.Delim('{') {
		return fmt.Errorf("line %d: %v where an object belongs", r.Line(), t)
	}
	for r.More() {
		t, err := r.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("an object's key that isn't text")
		}
		if err := each(key); err != nil {
			return err
		}
	}
	_, err = r.Token()
	return err
}

// array calls each before every element of the array that comes next; each must read it.
func (r *jsonReader) array(each func() error) error {
	t, err := r.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("line %d: %v where a list belongs", r.Line(), t)
	}
	for r.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err = r.Token()
	return err
}

// skip reads a value and forgets it.
func (r *jsonReader) skip() error {
	var raw json.RawMessage
	return r.Decode(&raw)
}
