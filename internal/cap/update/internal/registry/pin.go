package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// OCI pins images by the distribution protocol (https://github.com/opencontainers/distribution-spec, v1.1), without credentials.
type OCI struct {
	web    web
	scheme string
}

// NewOCI returns an OCI; client may be nil. scheme is "https", or "http" for a registry on loopback.
func NewOCI(client *http.Client, scheme string) *OCI { return &OCI{newWeb(client), scheme} }

const manifestTypes = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
	"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

// matches has constant patterns only.
func matches(pattern, s string) bool {
	ok, _ := regexp.MatchString("^(?:"+pattern+")$", s)
	return ok
}

// Pin returns the digest ("sha256:…") of an image's tag, for all platforms where it has several. Names without a host are Docker Hub's.
func (o *OCI) Pin(ctx context.Context, name, tag string) (string, error) {
	host, repository := splitImage(name)
	if !matches(`[A-Za-z0-9.-]+(:[0-9]+)?`, host) || !matches(`[a-z0-9]+([._/-]+[a-z0-9]+)*`, repository) || !matches(`[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`, tag) {
		return "", fault.New(fault.Invalid, fmt.Sprintf("%.120q is no image", name+":"+tag))
	}
	address := o.scheme + "://" + host + "/v2/" + repository + "/manifests/" + tag
	header := []string{"Accept", manifestTypes}
	resp, err := o.web.do(ctx, http.MethodHead, address, header)
	var asks *refusal
	if errors.As(err, &asks) {
		var token string
		if token, err = o.token(ctx, asks.challenge, repository); err != nil {
			return "", fmt.Errorf("pin %s:%s: %w", name, tag, err)
		}
		resp, err = o.web.do(ctx, http.MethodHead, address, append(header, "Authorization", "Bearer "+token))
	}
	if err != nil {
		return "", fmt.Errorf("pin %s:%s: %w", name, tag, err)
	}
	resp.Body.Close()
	digest := resp.Header.Get("Docker-Content-Digest")
	if !matches(`sha256:[0-9a-f]{64}`, digest) {
		return "", fault.New(fault.Invalid, fmt.Sprintf("the registry tells no digest of %s:%s", name, tag))
	}
	return digest, nil
}

// splitImage is how Docker reads an image's name.
func splitImage(name string) (host, repository string) {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case ok && (strings.ContainsAny(first, ".:") || first == "localhost"):
		if first == "docker.io" {
			return splitImage(rest)
		}
		return first, rest
	case ok:
		return "registry-1.docker.io", name
	}
	return "registry-1.docker.io", "library/" + name
}

// token asks for an anonymous one (https://distribution.github.io/distribution/spec/auth/token/).
func (o *OCI) token(ctx context.Context, challenge, repository string) (string, error) {
	scheme, rest, _ := strings.Cut(challenge, " ")
	fields := map[string]string{}
	for _, m := range regexp.MustCompile(`([a-z]+)="([^"]*)"`).FindAllStringSubmatch(rest, 8) {
		fields[m[1]] = m[2]
	}
	realm, err := url.Parse(fields["realm"])
	if !strings.EqualFold(scheme, "Bearer") || err != nil || realm.Host == "" || realm.Scheme != o.scheme {
		return "", fault.New(fault.Refused, "the registry asks for credentials, which Ward doesn't have")
	}
	q := realm.Query()
	q.Set("service", fields["service"])
	q.Set("scope", "repository:"+repository+":pull")
	realm.RawQuery = q.Encode()
	b, err := o.web.get(ctx, realm.String(), maxSmall)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", fault.Wrap(fault.Invalid, "the registry's token can't be read", err)
	}
	if answer.Token == "" {
		answer.Token = answer.Access
	}
	return answer.Token, nil
}

// GitHub pins actions (https://docs.github.com/rest/commits/commits#get-a-commit).
type GitHub struct {
	web web
	api string
}

// NewGitHub returns a GitHub; api "" is the public one, client may be nil.
func NewGitHub(api string, client *http.Client) *GitHub {
	if api == "" {
		api = "https://api.github.com"
	}
	return &GitHub{newWeb(client), strings.TrimRight(api, "/")}
}

// Pin returns the commit that a tag or branch of an action ("owner/name", or "owner/name/folder") stands for.
func (g *GitHub) Pin(ctx context.Context, name, tag string) (string, error) {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || !matches(`[A-Za-z0-9-]+`, parts[0]) || !matches(`[A-Za-z0-9._-]*[A-Za-z0-9_-]`, parts[1]) || !matches(`[A-Za-z0-9_][A-Za-z0-9._/-]{0,200}`, tag) || strings.Contains(tag, "..") {
		return "", fault.New(fault.Invalid, fmt.Sprintf("%.120q is no action", name+"@"+tag))
	}
	b, err := g.web.get(ctx, g.api+"/repos/"+parts[0]+"/"+parts[1]+"/commits/"+url.PathEscape(tag), maxSmall, "Accept", "application/vnd.github.sha")
	if err != nil {
		return "", fmt.Errorf("pin %s@%s: %w", name, tag, err)
	}
	if sha := strings.TrimSpace(string(b)); matches(`[0-9a-f]{40}`, sha) {
		return sha, nil
	}
	return "", fault.New(fault.Invalid, fmt.Sprintf("GitHub tells no commit of %s@%s", name, tag))
}
