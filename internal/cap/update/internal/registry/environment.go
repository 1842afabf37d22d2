package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
)

// GoEnv is what the go command's own configuration says of where modules come from.
type GoEnv struct {
	Proxy    string `json:"GOPROXY"`
	NoProxy  string `json:"GONOPROXY"`
	Private  string `json:"GOPRIVATE"`
	SumDB    string `json:"GOSUMDB"`
	NoSumDB  string `json:"GONOSUMDB"`
	Root     string `json:"GOROOT"`
	ModCache string `json:"GOMODCACHE"`
}

// NPMEnv is what npm's own configuration says.
type NPMEnv struct {
	Registry string            // URL
	Scopes   map[string]string // "@scope" → URL
	// Foreign are registries that only the project's own files name, "@scope" → URL, "" for all that has no other. Nobody asks them, nor anybody else
	// in their stead: the public registry may hold another part of the same name.
	Foreign map[string]string
}

// ReadGoEnv asks the go command.
func ReadGoEnv(ctx context.Context) (GoEnv, error) {
	var e GoEnv
	err := ask(ctx, &e, "", "go", "env", "-json", "GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOROOT", "GOMODCACHE")
	if e.NoProxy == "" {
		e.NoProxy = e.Private
	}
	return e, err
}

// ReadNPMEnv asks npm how its user configured it, and looks into the files of a project in a tree for what they say otherwise: a repository doesn't
// decide whom Ward asks. dir is the project's folder in the tree, slash-separated.
func ReadNPMEnv(ctx context.Context, tree, dir string) (NPMEnv, error) {
	all := map[string]any{}
	if err := ask(ctx, &all, "/", "npm", "config", "list", "--json"); err != nil {
		return NPMEnv{}, err
	}
	e := NPMEnv{Scopes: map[string]string{}}
	e.Registry, _ = all["registry"].(string)
	for k, v := range all {
		if scope, ok := strings.CutSuffix(k, ":registry"); ok && strings.HasPrefix(scope, "@") {
			e.Scopes[scope], _ = v.(string)
		}
	}
	if e.Registry == "" {
		return NPMEnv{}, fault.New(fault.Invalid, "npm names no registry")
	}
	return e, e.look(tree, dir)
}

func ask(ctx context.Context, out any, dir string, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	b, err := cmd.Output()
	if err != nil {
		return fault.Wrap(fault.Unavailable, "the "+argv[0]+" command doesn't tell its configuration", fmt.Errorf("%w: %.300s", err, complaint.String()))
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("read configuration of %s: %w", argv[0], err)
	}
	return nil
}

// Hosts are the places, as "host:port", that a fetch may have to reach: proxies and the checksum database.
func (e GoEnv) Hosts() ([]string, error) {
	var addresses []string
	for _, p := range strings.FieldsFunc(e.Proxy, func(r rune) bool { return r == ',' || r == '|' }) {
		if p != "direct" && p != "off" {
			addresses = append(addresses, p)
		}
	}
	if db := strings.Fields(e.SumDB); len(db) > 0 && db[0] != "off" {
		if name, _, _ := strings.Cut(db[0], "+"); len(db) == 1 {
			addresses = append(addresses, "https://"+name)
		} else {
			addresses = append(addresses, db[1])
		}
	}
	return hosts(addresses)
}

// Hosts are the places, as "host:port", that a fetch may have to reach.
func (e NPMEnv) Hosts() ([]string, error) {
	addresses := []string{e.Registry}
	if public(e.Registry) {
		addresses = append(addresses, publicYarn) // what yarn's lock files name
	}
	for _, a := range e.Scopes {
		addresses = append(addresses, a)
	}
	return hosts(addresses)
}

func hosts(addresses []string) ([]string, error) {
	var out []string
	for _, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "the address of a registry can't be read", err)
		}
		port := u.Port()
		switch {
		case u.Scheme == "file":
			continue
		case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
			return nil, fault.New(fault.Invalid, fmt.Sprintf("%q is no address of a registry", u.Redacted()))
		case port == "" && u.Scheme == "https":
			port = "443"
		case port == "":
			port = "80"
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("%q has no port", u.Redacted()))
		}
		if host := u.Hostname() + ":" + port; !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return out, nil
}
