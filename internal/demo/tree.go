package demo

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/wardhq/ward/internal/demo/shop"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

//go:embed shop.yaml
var shopModel string

// layOut makes the shop's folders in dir: one for each role, with the files that it comes with,
// and the program beside them.
func layOut(dir, program string) error {
	static, err := shop.Static()
	if err != nil {
		return fmt.Errorf("lay out the shop: %w", err)
	}
	for _, role := range shop.Names() {
		if err := os.MkdirAll(filepath.Join(dir, role, "data"), 0o755); err != nil {
			return fmt.Errorf("lay out the shop: %w", err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "web", "static"), static); err != nil {
		return fmt.Errorf("lay out the shop: %w", err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "ward")); err != nil {
		return fmt.Errorf("lay out the shop: %w", err)
	}
	return nil
}

// copyProgram makes a copy that every user may run, wherever and for whom the program was built.
func copyProgram(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	_, err = io.Copy(w, r)
	// Whatever the umask says.
	if err := errors.Join(err, w.Chmod(0o755), w.Close()); err != nil {
		return fmt.Errorf("copy the program: %w", err)
	}
	return nil
}

// Model is the shop's ward.yaml with these ports of the gateway and of the card processor.
func Model(gateway, cards int) string {
	return strings.NewReplacer(
		"127.0.0.1:8443", fmt.Sprintf("127.0.0.1:%d", gateway),
		"port: 8090", fmt.Sprintf("port: %d", cards),
	).Replace(shopModel)
}

func parseModel(file, text string) (*model.Model, error) {
	m, problems := wardfile.Parse(file, strings.NewReader(text))
	if problems.HasErrors() {
		return nil, fmt.Errorf("the shop's model: %s", problems.Only(model.Error).String())
	}
	return m, nil
}
