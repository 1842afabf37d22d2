package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// SealFields seals the fields of the struct that v points to, in place and all or none, where a tag says so:
//
//	Address string `seal:"class=addresses,column=address"`
//	Email   []byte `seal:"class=addresses,column=email,lookup"`
//
// They are strings, which become base64, or []byte, of which nil stays nil; embedded structs are gone through. The place's table, tenant and row are
// given; class and column are the tag's. A lookup has no row. A value that is sealed already is refused.
func (c *Client) SealFields(ctx context.Context, v any, at Context) error {
	return c.eachField(v, at, func(f *field) error {
		if f.sealed() {
			return errors.New("it is sealed already")
		}
		value, err := f.seal(ctx, c)
		f.set = func() { f.store(value, base64.StdEncoding.EncodeToString) }
		return err
	})
}

// UnsealFields reverses SealFields.
func (c *Client) UnsealFields(ctx context.Context, v any, at Context) error {
	return c.eachField(v, at, func(f *field) error {
		sealed, err := f.bytes()
		if err != nil {
			return ErrDecrypt
		}
		unseal := c.Unseal
		if f.lookup {
			unseal = c.UnsealLookup
		}
		value, err := unseal(ctx, sealed, f.at)
		f.set = func() { f.store(value, func(b []byte) string { return string(b) }) }
		return err
	})
}

// field is one that has a tag.
type field struct {
	name   string
	value  reflect.Value
	at     Context
	lookup bool
	set    func() // once every field is done
}

func (c *Client) eachField(v any, at Context, do func(*field) error) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return errors.New("seal fields: not a pointer to a struct")
	}
	fields, err := tagged(p.Elem(), at)
	if err != nil {
		return fmt.Errorf("seal fields: %w", err)
	}
	if len(fields) == 0 {
		return fmt.Errorf("seal fields: %s has no field with a seal tag", p.Elem().Type())
	}
	fields = slices.DeleteFunc(fields, func(f *field) bool { return f.value.Kind() == reflect.Slice && f.value.IsNil() })
	for _, f := range fields {
		if err := do(f); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	for _, f := range fields {
		f.set()
	}
	return nil
}

// tagged finds the fields to be done.
func tagged(s reflect.Value, at Context) ([]*field, error) {
	var out []*field
	for i := range s.NumField() {
		def, value := s.Type().Field(i), s.Field(i)
		tag, ok := def.Tag.Lookup("seal")
		switch {
		case !ok && def.Anonymous && value.Kind() == reflect.Struct:
			inner, err := tagged(value, at)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
		case !ok:
		case !value.CanSet() || (value.Kind() != reflect.String && value.Type() != reflect.TypeFor[[]byte]()):
			return nil, fmt.Errorf("field %s isn't an exported string or []byte", def.Name)
		default:
			f := &field{name: def.Name, value: value, at: at}
			if err := f.parse(tag); err != nil {
				return nil, fmt.Errorf("field %s: %w", def.Name, err)
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// parse reads a tag: class=…, column=… and perhaps lookup.
func (f *field) parse(tag string) error {
	f.at.Class, f.at.Column = "", ""
	for word := range strings.SplitSeq(tag, ",") {
		switch key, value, _ := strings.Cut(word, "="); {
		case word == "lookup":
			f.lookup, f.at.Row = true, ""
		case key == "class" && value != "":
			f.at.Class = value
		case key == "column" && value != "":
			f.at.Column = value
		default:
			return fmt.Errorf("the tag's %q isn't class=…, column=… or lookup", word)
		}
	}
	if f.at.Class == "" || f.at.Column == "" {
		return errors.New("the tag needs class=… and column=…")
	}
	return nil
}

func (f *field) seal(ctx context.Context, c *Client) ([]byte, error) {
	value := f.value.Bytes
	if f.value.Kind() == reflect.String {
		value = func() []byte { return []byte(f.value.String()) }
	}
	if f.lookup {
		return c.SealLookup(ctx, value(), f.at)
	}
	return c.Seal(ctx, value(), f.at)
}

// bytes of the sealed field.
func (f *field) bytes() ([]byte, error) {
	if f.value.Kind() == reflect.String {
		return base64.StdEncoding.Strict().DecodeString(f.value.String())
	}
	return f.value.Bytes(), nil
}

// sealed tells whether the value looks like one that is sealed.
func (f *field) sealed() bool {
	b, err := f.bytes()
	if err != nil {
		return false
	}
	_, err = envelope.Inspect(b)
	return err == nil
}

func (f *field) store(b []byte, text func([]byte) string) {
	if f.value.Kind() == reflect.String {
		f.value.SetString(text(b))
	} else {
		f.value.SetBytes(b)
	}
}
