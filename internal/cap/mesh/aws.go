package mesh

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/base/sigv4"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/proxy"
)

// signer signs calls of a service of AWS.
type signer struct {
	credentials     sigv4.Credentials
	region, service string
	unsigned        bool // the service takes bodies that aren't signed, over TLS
	clock           clock.Clock
}

// forAWS takes ACCESS_KEY_ID:SECRET_ACCESS_KEY, perhaps with a session's token.
func (c *credential) forAWS(x *model.External, value string) {
	credentials, err := sigv4.ParseCredentials(secret.New([]byte(value)))
	if err != nil {
		c.missing = "secret " + c.auth.Secret + " isn't ACCESS_KEY_ID:SECRET_ACCESS_KEY"
		return
	}
	c.aws = &signer{credentials, c.auth.Region, c.auth.Service, c.auth.Service == "s3" && x.TLS == model.TLSOriginate, clock.System{}}
	c.look(string(credentials.Secret.Reveal()), credentials.Token)
}

// presigned are the parameters of a signature in the query, which would stand beside Ward's.
func presigned() []string {
	return []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token"}
}

// A body in AWS's own chunks: most kinds have signatures inside, which only who holds the key can make.
const (
	streamed         = "STREAMING-"
	streamedUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// sign sets the signature of a call, at once if the body isn't signed. The target goes out in the one spelling that is signed.
func (g *signer) sign(v *proxy.Verdict, r *proxy.Request, set []proxy.Header) {
	if r.Path == "*" {
		*v = proxy.Verdict{Status: http.StatusBadRequest, Public: "this call can't be signed"}
		return
	}
	query := r.Query
	for _, name := range presigned() {
		query = withoutParam(query, name)
	}
	path, query := strictPath(r.Path), strictQuery(query)
	v.Target = path
	if query != "" {
		v.Target += "?" + query
	}
	to := r.Host
	if r.Port != "" {
		to += ":" + r.Port
	}
	q := sigv4.Request{Method: r.Method, Host: to, Path: path, Query: query, Region: g.region, Service: g.service, Time: g.clock.Now()}
	r.Each(func(name, value string) {
		lower := strings.ToLower(name)
		if (strings.HasPrefix(lower, "x-amz-") || lower == "content-type") && !slices.ContainsFunc(v.Drop, func(d string) bool { return strings.EqualFold(d, name) }) {
			q.Fields = append(q.Fields, sigv4.Field{Name: name, Value: value})
		}
	})
	says, _ := r.Get("X-Amz-Content-Sha256")
	switch {
	case !g.unsigned:
		v.Sign = func(body []byte) []proxy.Header {
			q.Payload = sigv4.HashPayload(body)
			return g.fields(q)
		}
		return
	case says == streamedUnsigned:
		q.Payload = says
	case strings.HasPrefix(says, streamed):
		*v = proxy.Verdict{Status: http.StatusBadRequest, Public: "Ward signs this request, and can't sign its chunks; send it whole, or as " + streamedUnsigned}
		return
	default:
		q.Payload = sigv4.UnsignedPayload
	}
	v.Set = append(slices.Clip(set), g.fields(q)...)
}

func (g *signer) fields(q sigv4.Request) []proxy.Header {
	var out []proxy.Header
	for _, f := range sigv4.Sign(g.credentials, q) {
		out = append(out, proxy.Header{Name: f.Name, Value: f.Value})
	}
	return out
}

// strictPath escapes all but the unreserved characters, as AWS does before it compares.
func strictPath(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil { // it is canonical, and so can be decoded
			segments[i] = strict(plain)
		}
	}
	return strings.Join(segments, "/")
}

// strictQuery does the same to each name and value, and keeps their order. A plus is a space, as in forms.
func strictQuery(query string) string {
	var out []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, has := strings.Cut(part, "=")
		part = strict(unescape(name))
		if has {
			part += "=" + strict(unescape(value))
		}
		out = append(out, part)
	}
	return strings.Join(out, "&")
}

func strict(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
