package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/demo/shop"
)

// IntruderRole is the role of ServiceVerb that is the attacker's own program: what somebody who can run
// programs in a service would bring along.
const IntruderRole = "intruder"

// errand is what the intruder is to do inside. Exactly one field is set.
type errand struct {
	Charge string `json:"charge,omitempty"` // charge a card at this address
	Get    string `json:"get,omitempty"`    // fetch a URL
	Read   string `json:"read,omitempty"`   // a file
	Write  string `json:"write,omitempty"`  // a file: its end gets a line more
	Hunt   string `json:"hunt,omitempty"`   // the value of this variable in any process's environment
	Login  string `json:"login,omitempty"`  // read the orders of the database at this URL
}

// booty is what the intruder brings back.
type booty struct {
	OK    bool   `json:"ok"`
	Text  string `json:"text"` // what was found, or why nothing was
	Error wall   `json:"error,omitempty"`
}

// wall is the kind of thing that an attempt ran into.
type wall string

// The walls.
const (
	wallName    wall = "name"    // the name doesn't resolve
	wallRoute   wall = "route"   // no way to the address, or nobody there
	wallPort    wall = "port"    // no right to connect to the port
	wallFile    wall = "file"    // no such file, or no right to it
	wallProcess wall = "process" // no other process to be seen
	wallOther   wall = "other"
)

// Intrude does the errand that the argument encodes and writes the booty to w.
func Intrude(ctx context.Context, arg string, w io.Writer) error {
	b, err := base64.RawURLEncoding.DecodeString(arg)
	if err != nil {
		return fmt.Errorf("read errand: %w", err)
	}
	var e errand
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("read errand: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	text, err := e.run(ctx)
	out := booty{OK: err == nil, Text: text}
	if err != nil {
		out.Text, out.Error = err.Error(), wallOf(err)
	}
	b, err = json.Marshal(out)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	// Encoded once more: it travels through a template and a page.
	_, err = fmt.Fprintf(w, "<<%s>>", base64.RawURLEncoding.EncodeToString(b))
	return err
}

func (e *errand) encode() string {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings can always be marshalled
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readBooty finds what the intruder wrote in a text around it.
func readBooty(text string) (booty, bool) {
	var out booty
	_, rest, ok := strings.Cut(text, "<<")
	code, _, ok2 := strings.Cut(rest, ">>")
	if !ok || !ok2 {
		return out, false
	}
	b, err := base64.RawURLEncoding.DecodeString(code)
	return out, err == nil && json.Unmarshal(b, &out) == nil
}

func (e *errand) run(ctx context.Context) (string, error) {
	switch {
	case e.Charge != "":
		receipt, err := shop.Charge(ctx, e.Charge, "4000056655665556", "none", 99900)
		return receipt, err
	case e.Get != "":
		return fetch(ctx, e.Get)
	case e.Read != "":
		b, err := os.ReadFile(e.Read)
		return string(b), err
	case e.Write != "":
		return "written", writeOn(e.Write)
	case e.Hunt != "":
		return hunt(e.Hunt)
	case e.Login != "":
		return shop.ReadOrders(ctx, e.Login)
	}
	return "", errors.New("no errand")
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Internal", "true")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", b)
	}
	return string(b), err
}

func writeOn(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.WriteString(f, "\n")
	return err
}

// errAlone: there is no other process to look into.
var errAlone = errors.New("no other process to be seen")

// hunt reads the environment of every process that /proc shows.
func hunt(name string) (string, error) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return "", err
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // another user's, or it has ended
		}
		for _, v := range bytes.Split(b, []byte{0}) {
			if value, ok := strings.CutPrefix(string(v), name+"="); ok {
				return value, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %d in /proc", errAlone, len(all))
}

// wallOf tells what an error ran into, also where only its text is left, as after gRPC or
// in a page.
func wallOf(err error) wall {
	s := err.Error()
	dialled := strings.Contains(s, "dial tcp")
	switch {
	case strings.Contains(s, "no such host"), strings.Contains(s, "server misbehaving"):
		return wallName
	case dialled && strings.Contains(s, "permission denied"):
		return wallPort
	case strings.Contains(s, "connection refused"), strings.Contains(s, "network is unreachable"):
		return wallRoute
	case errors.Is(err, errAlone):
		return wallProcess
	case strings.Contains(s, "no such file or directory"), strings.Contains(s, "permission denied"):
		return wallFile
	}
	return wallOther
}
