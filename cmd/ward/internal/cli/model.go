package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

// DefaultFile is the model that every verb reads unless -f says another.
const DefaultFile = "ward.yaml"

// LoadModel reads the model at path. Errors in it are printed to e.Err, and make
// ErrFindings; warnings are for `ward check` alone.
func LoadModel(e Env, path string) (*model.Model, error) {
	m, problems, err := ReadModel(path)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		io.WriteString(e.Err, problems.Only(model.Error).String())
		return nil, ErrFindings
	}
	return m, nil
}

// ReadModel is the model at path with everything there is to say about it.
func ReadModel(path string) (*model.Model, model.Problems, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, OpenError(path, err)
	}
	defer f.Close()
	m, problems := wardfile.Parse(path, f)
	return m, problems, nil
}

// OpenError says what to do about a file that can't be opened.
func OpenError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && path == DefaultFile:
		return fault.New(fault.NotFound, "there is no ward.yaml here; write a first one with 'ward init', or name another with -f")
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "there is no file "+path)
	}
	return fault.Wrap(fault.Invalid, fmt.Sprintf("open %s", path), err)
}
