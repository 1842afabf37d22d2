package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Context says what a value is. It is bound to the ciphertext and never stored in it: who opens must know it. Each
// field is UTF-8 of at most 1024 bytes.
type Context struct {
	Service string `json:"service,omitempty"` // whose it is
	Class   string `json:"class,omitempty"`   // the data class; mandatory
	Tenant  string `json:"tenant,omitempty"`  // at least one of these four is mandatory
	Table   string `json:"table,omitempty"`
	Column  string `json:"column,omitempty"`
	Row     string `json:"row,omitempty"` // empty in lookups, whose point is to be equal across rows
}

const maxField = 1024

const contextPrefix = "ward context v1"

// Check says what is wrong with the context, naming the field and not its value.
func (c *Context) Check() error {
	for i, f := range c.fields() {
		if len(*f) > maxField {
			return fmt.Errorf("context: %s is longer than %d bytes", fieldNames[i], maxField)
		}
		if !utf8.ValidString(*f) {
			return fmt.Errorf("context: %s isn't UTF-8", fieldNames[i])
		}
	}
	if c.Class == "" {
		return errors.New("context: the class is missing")
	}
	if c.Tenant == "" && c.Table == "" && c.Column == "" && c.Row == "" {
		return errors.New("context: one of tenant, table, column and row is needed")
	}
	return nil
}

// fields in the order of the encoding.
func (c *Context) fields() [6]*string {
	return [6]*string{&c.Service, &c.Class, &c.Tenant, &c.Table, &c.Column, &c.Row}
}

var fieldNames = [6]string{"service", "class", "tenant", "table", "column", "row"}

// append checks the context and encodes it: no context's encoding is the beginning of another's.
func (c *Context) append(b []byte) ([]byte, error) {
	from := len(b)
	b = append(b, contextPrefix...)
	for _, f := range c.fields() {
		if len(*f) > maxField || len(*f) >= utf8.RuneSelf && !utf8.ValidString(*f) {
			return b, c.Check()
		}
		b = appendField(b, *f)
	}
	// One look at the whole is faster than six: a length below 128 is two ASCII bytes, so that no rune goes over a border. Longer fields have been looked at.
	if c.Class == "" || (c.Tenant == "" && c.Table == "" && c.Column == "" && c.Row == "") || !utf8.Valid(b[from:]) {
		return b, c.Check()
	}
	return b, nil
}

// appendField writes uint16 length ‖ bytes.
func appendField(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func (c *Context) checkLookup() error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Row != "" {
		return errors.New("context: a lookup has no row")
	}
	return nil
}
