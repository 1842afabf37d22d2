package anchor

import (
	"errors"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
)

// Report is how a try ended that another process made.
type Report struct {
	State        State     `json:"state"`
	Records      int64     `json:"records"`
	Root         tlog.Hash `json:"root"`
	Error        string    `json:"error,omitempty"`
	Contradicted bool      `json:"contradicted,omitempty"`
}

// NewReport puts a try's end into words.
func NewReport(s State, tree tlog.Tree, err error) Report {
	r := Report{State: s, Records: tree.N, Root: tree.Hash}
	if err != nil {
		r.Error, r.Contradicted = err.Error(), fault.KindOf(err) == fault.Refused
	}
	return r
}

// Err is the error that NewReport got, as far as it matters here.
func (r *Report) Err() error {
	switch {
	case r.Contradicted:
		return fault.New(fault.Refused, r.Error)
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}
