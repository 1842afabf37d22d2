package sigv4

import (
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
)

// The examples of AWS's Signature Version 4 test suite: region us-east-1, service "service", 30 August 2015.
func TestPublishedExamples(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	c := Credentials{ID: "AKIDEXAMPLE", Secret: secret.New([]byte("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))}
	for _, e := range []struct {
		name      string
		r         Request
		signature string
	}{
		{"get-vanilla", Request{Method: "GET", Path: "/"}, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", Request{Method: "GET", Path: "/", Query: "Param2=value2&Param1=value1"}, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"post-vanilla", Request{Method: "POST", Path: "/"}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	} {
		e.r.Host, e.r.Region, e.r.Service, e.r.Time, e.r.Payload = "example.amazonaws.com", "us-east-1", "service", at, HashPayload(nil)
		fields := Sign(c, e.r)
		got := fields[len(fields)-1].Value
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + e.signature
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", e.name, got, want)
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a=", "b=2&a=1": "a=1&b=2", "a=2&a=1": "a=1&a=2", "x=%2f&y=a+b": "x=%2F&y=a%2Bb", "%7e=~": "~=~"} {
		if got := canonicalQuery(in); got != want {
			t.Errorf("query %q: %q, want %q", in, got, want)
		}
	}
	if got := canonicalPath("/a%20b/c", "s3"); got != "/a%20b/c" {
		t.Errorf("S3 signs what is sent: %q", got)
	}
	if got := canonicalPath("/a%20b/c", "kms"); got != "/a%2520b/c" {
		t.Errorf("others escape once more: %q", got)
	}
	lines, names := canonicalFields([]Field{{"X-B", " two  words "}, {"host", "h"}, {"x-b", "again"}})
	if lines != "host:h\nx-b:two words,again\n" || names != "host;x-b" {
		t.Errorf("%q %q", lines, names)
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add("AKID:SECRET")
	f.Add("AKID:SECRET:TOKEN")
	f.Add("x")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCredentials(secret.New([]byte(s)))
		if err == nil && (c.ID == "" || len(c.Secret.Reveal()) == 0) {
			t.Fatal("half of it was taken")
		}
		if err != nil && len(s) > 80 && strings.Contains(err.Error(), s) {
			t.Fatalf("the error says %q", s)
		}
	})
}
