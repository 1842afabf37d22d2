package up

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/wardhq/ward/internal/ledger/anchor"
)

// anchorEvery is how often control is asked whether a file is due.
const anchorEvery = 5 * time.Second

// anchorFiles writes the ledger's checkpoints to the files that ward.yaml names, until ctx ends: control sees none of them.
func (s *Supervisor) anchorFiles(ctx context.Context) {
	t := time.NewTicker(anchorEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		var due []anchor.State
		err := s.admin.Call(ctx, http.MethodGet, "/v1/anchors/files", nil, &due)
		for _, a := range due {
			tree, werr := anchor.WriteFile(s.inBase(a.To), filepath.Join(s.paths.Control, "ledger"))
			if werr != nil {
				slog.Warn("anchor the ledger", "file", a.To, "error", werr)
			}
			if err == nil {
				err = s.admin.Call(ctx, http.MethodPost, "/v1/anchors/file", anchor.NewReport(a, tree, werr), nil)
			}
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("anchor the ledger", "error", err)
		}
	}
}
