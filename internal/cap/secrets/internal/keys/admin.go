package keys

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// Admin is the administrators' API below /v1/keys, for the socket that only they reach. What changes a key answers with it.
func (r *Ring) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/keys", func(w http.ResponseWriter, req *http.Request) {
		all, err := r.List(req.Context(), req.URL.Query().Get("after"))
		reply(w, wire.ManagedKeys{Keys: all}, err)
	})
	mux.HandleFunc("GET /v1/keys/{name}", func(w http.ResponseWriter, req *http.Request) {
		k, err := r.Get(req.Context(), req.PathValue("name"))
		reply(w, k, err)
	})
	administer(r, mux, "rotate", func(ctx context.Context, name string, in wire.ManagedKeyRotate) error {
		return r.Rotate(ctx, name, in.AtOnce)
	})
	administer(r, mux, "disable", func(ctx context.Context, name string, in wire.ManagedKeyVersionNumber) error {
		return r.Disable(ctx, name, in.Version)
	})
	administer(r, mux, "enable", func(ctx context.Context, name string, in wire.ManagedKeyVersionNumber) error {
		return r.Enable(ctx, name, in.Version)
	})
	administer(r, mux, "min-version", func(ctx context.Context, name string, in wire.ManagedKeyVersionNumber) error {
		return r.SetMinVersion(ctx, name, in.Version)
	})
	administer(r, mux, "delete", func(ctx context.Context, name string, in wire.ManagedKeyDelete) error {
		if in.Confirm != name {
			return fault.New(fault.Invalid, fmt.Sprintf("to destroy the key, its name %s has to be repeated", name))
		}
		if in.WaitDays < 0 || in.WaitDays > int(maxWait/(24*time.Hour)) {
			return errWait()
		}
		_, err := r.ScheduleDeletion(ctx, name, time.Duration(in.WaitDays)*24*time.Hour)
		return err
	})
	administer(r, mux, "undelete", func(ctx context.Context, name string, _ struct{}) error { return r.CancelDeletion(ctx, name) })
	administer(r, mux, "import", func(ctx context.Context, name string, in wire.ManagedKeyImport) error {
		return r.Import(ctx, name, secret.New(in.Material))
	})
	administer(r, mux, "shred", func(ctx context.Context, name string, in wire.ManagedKeyOwner) error {
		return r.Shred(ctx, name, in.Owner)
	})
	administer(r, mux, "readmit", func(ctx context.Context, name string, in wire.ManagedKeyOwner) error {
		return r.Readmit(ctx, name, in.Owner)
	})
	return mux
}

// administer adds a call that changes a key; an empty body is the zero In.
func administer[In any](r *Ring, mux *http.ServeMux, verb string, f func(context.Context, string, In) error) {
	mux.HandleFunc("POST /v1/keys/{name}/"+verb, func(w http.ResponseWriter, req *http.Request) {
		var in In
		var k wire.ManagedKey
		err := error(nil)
		if req.ContentLength != 0 {
			err = readBody(w, req, &in)
		}
		if err == nil {
			err = f(req.Context(), req.PathValue("name"), in)
		}
		if err == nil {
			k, err = r.Get(req.Context(), req.PathValue("name"))
		}
		reply(w, k, err)
	})
}
