// Package sigv4 signs HTTP requests as AWS asks for (Signature Version 4, "AWS4-HMAC-SHA256").
//
// Guarantee: what is signed is the request as it is given, in the canonical form of AWS's documentation; the published
// examples pass. Not guaranteed: query signing (presigned URLs) and chunked uploads, which it doesn't do.
package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// Credentials of an AWS account. Token is of temporary ones, "" otherwise.
type Credentials struct {
	ID     string
	Secret secret.Bytes
	Token  string
}

// ParseCredentials reads "ACCESS_KEY_ID:SECRET_ACCESS_KEY" or "…:SESSION_TOKEN". Its error holds nothing of the text.
func ParseCredentials(text secret.Bytes) (Credentials, error) {
	id, rest, ok := strings.Cut(strings.TrimSpace(string(text.Reveal())), ":")
	key, token, _ := strings.Cut(rest, ":")
	if !ok || id == "" || key == "" || len(text.Reveal()) > 8192 || strings.ContainsAny(id+key+token, " \t\r\n") {
		return Credentials{}, errors.New("credentials of AWS are ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN if they are temporary")
	}
	return Credentials{ID: id, Secret: secret.New([]byte(key)), Token: token}, nil
}

// UnsignedPayload stands for the hash of a body that isn't signed; S3 takes it over TLS.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

// HashPayload is the hash of a body.
func HashPayload(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Request is what is signed.
type Request struct {
	Method  string
	Host    string
	Path    string // escaped, as it is sent; "" is "/"
	Query   string // raw, as it is sent
	Fields  []Field
	Payload string // HashPayload of the body, or UnsignedPayload
	Region  string
	Service string // "s3", "kms"…
	Time    time.Time
}

// Field is a header field: of Request further ones to sign, besides host and those that Sign adds.
type Field struct{ Name, Value string }

const stamp = "20060102T150405Z"

// Sign returns the fields to send in place of any of the same names.
func Sign(c Credentials, r Request) []Field {
	out := []Field{{"X-Amz-Date", r.Time.UTC().Format(stamp)}}
	if r.Service == "s3" {
		out = append(out, Field{"X-Amz-Content-Sha256", r.Payload})
	}
	if c.Token != "" {
		out = append(out, Field{"X-Amz-Security-Token", c.Token})
	}
	headers, signed := canonicalFields(slices.Concat([]Field{{"host", r.Host}}, r.Fields, out))
	canonical := strings.Join([]string{r.Method, canonicalPath(r.Path, r.Service), canonicalQuery(r.Query), headers, signed, r.Payload}, "\n")
	day := r.Time.UTC().Format("20060102")
	scope := strings.Join([]string{day, r.Region, r.Service, "aws4_request"}, "/")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", r.Time.UTC().Format(stamp), scope, HashPayload([]byte(canonical))}, "\n")
	key := append([]byte("AWS4"), c.Secret.Reveal()...)
	for _, part := range []string{day, r.Region, r.Service, "aws4_request"} {
		key = mac(key, part)
	}
	return append(out, Field{
		"Authorization",
		"AWS4-HMAC-SHA256 Credential=" + c.ID + "/" + scope + ", SignedHeaders=" + signed + ", Signature=" + hex.EncodeToString(mac(key, toSign)),
	})
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalFields are the fields in lower case, sorted, with spaces folded; and their names.
func canonicalFields(fields []Field) (lines, names string) {
	values := map[string][]string{}
	var order []string
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		if values[name] == nil {
			order = append(order, name)
		}
		values[name] = append(values[name], strings.Join(strings.Fields(f.Value), " "))
	}
	slices.Sort(order)
	var b strings.Builder
	for _, name := range order {
		b.WriteString(name + ":" + strings.Join(values[name], ",") + "\n")
	}
	return b.String(), strings.Join(order, ";")
}

// canonicalPath: S3 signs the path as it is sent, all others with each segment escaped once more.
func canonicalPath(path, service string) string {
	if path == "" {
		return "/"
	}
	if service == "s3" {
		return path
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = escape(segments[i])
	}
	return strings.Join(segments, "/")
}

// canonicalQuery is the parameters in one spelling, sorted by name and value.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	type parameter struct{ name, value string }
	var all []parameter
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		all = append(all, parameter{escape(unescape(name)), escape(unescape(value))})
	}
	slices.SortStableFunc(all, func(a, b parameter) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.name + "=" + p.value
	}
	return strings.Join(out, "&")
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil { // a plus is a plus here
		return u
	}
	return s
}

// escape leaves the unreserved characters of RFC 3986 §2.3, and writes all others as %XX.
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}
