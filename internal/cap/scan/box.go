package scan

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
)

// goBox is where Go code is loaded, nil for outside of any sandbox, which is noted.
func (s *scanner) goBox(ctx context.Context) (*gobox.Box, error) {
	if s.open {
		return s.box, nil
	}
	box, err := gobox.Open(ctx, s.Sandbox, s.Cache)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open a sandbox: %w", ctx.Err())
	}
	if err != nil {
		s.note(".", "Go code is loaded outside of a sandbox: "+err.Error())
	}
	s.box, s.open = box, true
	return box, nil
}

func (s *scanner) closeBox() {
	if s.box == nil {
		return
	}
	if err := s.box.Close(); err != nil {
		slog.Warn("a folder of the scan isn't removed", "error", err)
	}
}
