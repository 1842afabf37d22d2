// Package roster brings people in from elsewhere, with the password hashes that they have there.
//
// Guarantee: a line is read within limits and taken whole or not at all; each that isn't taken is named with its reason; a
// hash is checked before it is stored, and upgraded when its person signs in. Not guaranteed: that an import is taken as a
// whole; what was made before it ended stays.
package roster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/password"
)

const (
	maxLine   = 16 << 10 // bytes
	batchSize = 500      // people in a transaction
)

// Imported is what became of an import: how many were made, and which lines weren't taken and why.
type Imported struct {
	Made    int
	Refused []RefusedLine
}

// RefusedLine is a line of an import, from 1 on, that wasn't taken.
type RefusedLine struct {
	Line int
	Why  string
}

// maxRefused is how many refused lines an import reports before it ends.
const maxRefused = 1000

// Import makes people of JSON lines: {"email", "name", "locale", "verified", "password_hash", "groups", "roles"}, where
// the hash is in any form that password.Parse reads. It is upgraded when its person signs in. Lines that aren't taken
// don't stop it; what was made stays when it ends early.
func Import(ctx context.Context, s *account.Service, lines io.Reader) (Imported, error) {
	var out Imported
	var batch []account.NewPerson
	var at []int
	flush := func() error {
		made, refused, err := s.CreateAll(ctx, batch)
		out.Made += made
		for i, why := range refused {
			if why != nil {
				out.Refused = append(out.Refused, RefusedLine{at[i], fault.PublicText(why)})
			}
		}
		batch, at = batch[:0], at[:0]
		if err == nil && len(out.Refused) > maxRefused {
			err = fault.New(fault.Invalid, fmt.Sprintf("more than %d lines can't be taken; the import ended", maxRefused))
		}
		return err
	}
	sc := bufio.NewScanner(lines)
	sc.Buffer(make([]byte, 4096), maxLine)
	for n := 1; sc.Scan(); n++ {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		p, err := Parse(sc.Bytes())
		if err != nil {
			out.Refused = append(out.Refused, RefusedLine{n, fault.PublicText(err)})
			continue
		}
		batch, at = append(batch, p), append(at, n)
		if len(batch) == batchSize {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	if err := flush(); err != nil {
		return out, err
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return out, fault.New(fault.Invalid, fmt.Sprintf("a line has more than %d bytes", maxLine))
	}
	return out, sc.Err()
}

// Parse reads one line of an import.
func Parse(line []byte) (account.NewPerson, error) {
	var in struct {
		Email    string   `json:"email"`
		Name     string   `json:"name"`
		Locale   string   `json:"locale"`
		Verified bool     `json:"verified"`
		Hash     string   `json:"password_hash"`
		Groups   []string `json:"groups"`
		Roles    []string `json:"roles"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return account.NewPerson{}, fault.Wrap(fault.Invalid, "the line isn't an object of the known fields", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return account.NewPerson{}, fault.New(fault.Invalid, "something follows the object")
	}
	n := account.NewPerson{Email: in.Email, Name: in.Name, Locale: in.Locale, Verified: in.Verified, Password: in.Hash, Groups: in.Groups, Roles: in.Roles}
	if n.Password != "" {
		if _, err := password.Parse(n.Password); err != nil {
			return account.NewPerson{}, fault.Wrap(fault.Invalid, "the password hash isn't one of the known forms, or is beyond the limits", err)
		}
	}
	return n, n.Check()
}
