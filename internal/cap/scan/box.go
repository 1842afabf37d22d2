package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
)

// goBox is where Go code is loaded, nil for outside of any sandbox, which is noted.
func (s *scanner) goBox(ctx context.Context) (*gobox.Box, error) {
	if s.open {
		return s.box, nil
	}
	box, err := gobox.Open(ctx, s.Sandbox, s.Cache)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("open a sandbox: %w", ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fault.New(fault.Unavailable, "a sandbox to load Go code in takes too long to start; try again when the machine is less busy, or leave calls out with --no-calls")
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
