package seal

import (
	"errors"
	"strings"
	"testing"
)

// Contact is embedded.
type Contact struct {
	Email string `seal:"class=addresses,column=email,lookup"`
}

type order struct {
	Contact
	Address string `seal:"class=addresses,column=address"`
	Note    []byte `seal:"class=notes,column=note"`
	Missing []byte `seal:"class=notes,column=missing"`
	Plain   string
}

func TestFieldsAreSealedAndUnsealed(t *testing.T) {
	c := newClient(t, Config{Provider: newFake()})
	row := Context{Table: "orders", Row: "17"}
	o := order{Contact{"a@b"}, "1 Main Street", []byte("ring"), nil, "plain"}
	if err := c.SealFields(t.Context(), &o, row); err != nil {
		t.Fatal(err)
	}
	if o.Email == "a@b" || o.Address == "1 Main Street" || string(o.Note) == "ring" || o.Missing != nil || o.Plain != "plain" {
		t.Errorf("sealed: %+v", o)
	}
	if err := c.SealFields(t.Context(), &o, row); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("sealed twice: %v", err)
	}
	email := o.Email
	if err := c.UnsealFields(t.Context(), &o, Context{Table: "orders", Row: "18"}); !errors.Is(err, ErrDecrypt) || o.Email != email {
		t.Errorf("in another row: %v, and half was changed: %v", err, o.Email != email)
	}
	if err := c.UnsealFields(t.Context(), &o, row); err != nil || o.Email != "a@b" || o.Address != "1 Main Street" || string(o.Note) != "ring" || o.Missing != nil {
		t.Errorf("unsealed: %+v, %v", o, err)
	}
}

func TestTagsThatSayNothingClearAreRefused(t *testing.T) {
	c := newClient(t, Config{Provider: newFake()})
	row := Context{Table: "orders", Row: "17"}
	for name, v := range map[string]any{
		"no pointer": order{},
		"nil":        (*order)(nil),
		"no tag":     &struct{ A string }{},
		"not text": &struct {
			A int `seal:"class=a,column=b"`
		}{},
		"no column": &struct {
			A string `seal:"class=a"`
		}{},
		"no class": &struct {
			A string `seal:"column=a"`
		}{},
		"wrong word": &struct {
			A string `seal:"class=a,column=b,look"`
		}{},
		"empty class": &struct {
			A string `seal:"class=,column=b"`
		}{},
	} {
		if err := c.SealFields(t.Context(), v, row); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	broken := struct {
		A string `seal:"class=a,column=b"`
	}{"no base64"}
	if err := c.UnsealFields(t.Context(), &broken, row); !errors.Is(err, ErrDecrypt) {
		t.Errorf("unsealed what isn't sealed: %v", err)
	}
}
