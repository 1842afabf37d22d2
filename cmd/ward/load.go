package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
)

// defaultFile is the model that every verb reads unless -f says another.
const defaultFile = "ward.yaml"

// loadModel reads the model at path. Errors in it are printed to e.err, and make
// errFindings; warnings are for `ward check` alone.
func loadModel(e env, path string) (*model.Model, error) {
	m, problems, err := readModel(path)
	if err != nil {
		return nil, err
	}
	if problems.HasErrors() {
		io.WriteString(e.err, problems.Only(model.Error).String())
		return nil, errFindings
	}
	return m, nil
}

// readModel is the model at path with everything there is to say about it.
func readModel(path string) (*model.Model, model.Problems, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	defer f.Close()
	m, problems := model.Parse(path, f)
	return m, problems, nil
}

// openError says what to do about a file that can't be opened.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && path == defaultFile:
		return fault.New(fault.NotFound, "there is no ward.yaml here; write a first one with 'ward init', or name another with -f")
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "there is no file "+path)
	}
	return fault.Wrap(fault.Invalid, fmt.Sprintf("open %s", path), err)
}
