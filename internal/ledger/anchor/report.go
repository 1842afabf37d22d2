package anchor

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

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

// filesEvery is how often control is asked whether a file is due.
const filesEvery = 5 * time.Second

// KeepFiles writes the checkpoints of the ledger in a folder to the files that are due, until ctx ends. It is for the supervisor, for control sees none of them: call
// asks control's administrative API, and at tells where a file of ward.yaml lies.
func KeepFiles(ctx context.Context, call func(ctx context.Context, method, path string, in, out any) error, at func(string) string, ledgerDir string) {
	t := time.NewTicker(filesEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		var due []State
		err := call(ctx, http.MethodGet, "/v1/anchors/files", nil, &due)
		for _, a := range due {
			tree, werr := WriteFile(at(a.To), ledgerDir)
			if werr != nil {
				slog.Warn("anchor the ledger", "file", a.To, "error", werr)
			}
			if err == nil {
				err = call(ctx, http.MethodPost, "/v1/anchors/file", NewReport(a, tree, werr), nil)
			}
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("anchor the ledger", "error", err)
		}
	}
}
