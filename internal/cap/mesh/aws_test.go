package mesh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/need"
)

const (
	awsID     = "AKIDEXAMPLE"
	awsSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	awsToken  = "FwoGZXIvYXdzEBYaDH7rZ4nE2q9sQm1tVyLKAQ"
)

// TestAWSAcceptsWhatIsSigned: botocore, for AWS, signs what came out, and gets the same.
func TestAWSAcceptsWhatIsSigned(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's botocore
	if out, err := exec.Command(python, "-c", "import botocore").CombinedOutput(); err != nil {
		need.Missing(t, fmt.Sprintf("python3-botocore isn't installed (%s)", bytes.TrimSpace(out)))
	}
	var sent []signed
	for _, c := range []struct{ service, protocol, token string }{
		{"dynamodb", "http", awsToken}, {"dynamodb", "h2c", ""}, {"s3", "http", ""}, {"s3", "h2c", awsToken},
	} {
		var body string
		o := newOutside(t, externalOptions{
			auth: fmt.Sprintf(`"aws eu-central-1 %s secret:key"`, c.service), protocol: c.protocol,
			values: map[string][]byte{"key": []byte(strings.TrimSuffix(awsID+":"+awsSecret+":"+c.token, ":"))},
		}, func(_ http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body) // a short one shows
			body = string(b)
		})
		for _, call := range []struct {
			method, target, body string
			header               []string
		}{
			{"GET", "/", "", nil},
			{"GET", "/?b=2&a=1&a=%2f&c=x+y&d&e=~*'()&%C3%A9=%zz", "", nil},
			{"GET", "/a%20b+c/%c3%a9/~x!$&'()*,;=:@/%2B", "", nil},
			{"POST", "/", "Action=ListUsers&Version=2010-05-08", []string{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}},
			{"POST", "/", `{"TableName":"t"}`, []string{"X-Amz-Target", "DynamoDB_20120810.GetItem", "Content-Type", "application/x-amz-json-1.0"}},
			{"PUT", "/k", strings.Repeat("x", 300_000), []string{"X-Amz-Meta-A", "two   words ", "x-amz-acl", "private"}},
			{"DELETE", "/k?X-Amz-Signature=mine&x-amz-date=1&versionId=3", "", []string{
				"Authorization", "AWS4-HMAC-SHA256 mine", "X-Amz-Date", "20000101T000000Z", "X-Amz-Security-Token", "mine", "X-Amz-Content-Sha256", "mine",
			}},
		} {
			req, err := http.NewRequest(call.method, "http://example.com"+call.target, strings.NewReader(call.body))
			if err != nil {
				t.Fatal(err)
			}
			if call.body == "" {
				req.Body = nil
			}
			for i := 0; i < len(call.header); i += 2 {
				req.Header[call.header[i]] = []string{call.header[i+1]}
			}
			resp, err := o.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if answer := readBody(t, resp); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %v: %s %s", c.service, call, resp.Status, answer)
			}
			got := o.last()
			if body != call.body || strings.Contains(fmt.Sprint(got.URL, got.Header), "mine") {
				t.Errorf("%s %s %s: %d bytes came, with %s %v", c.service, call.method, call.target, len(body), got.URL, got.Header)
			}
			if token := got.Header.Get("X-Amz-Security-Token"); token != c.token {
				t.Errorf("%s: the session's token is %q", c.service, token)
			}
			sent = append(sent, readSigned(t, c.service, c.token, got, body))
		}
	}
	in, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/verify_aws.py")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var want []struct{ Signature, Canonical string }
	if err := json.Unmarshal(out, &want); err != nil || len(want) != len(sent) {
		t.Fatal(err, len(want))
	}
	for i, s := range sent {
		if s.signature != want[i].Signature {
			t.Errorf("%s %s %s: signed %s, botocore %s for\n%s", s.Service, s.Method, s.Target, s.signature, want[i].Signature, want[i].Canonical)
		}
	}
}

// signed is a request with its signature.
type signed struct {
	ID, Secret, Token, Service, Region, Method, Target, Body string

	Headers   map[string]string
	signature string
}

// readSigned reads a request as AWS does.
func readSigned(t *testing.T, service, token string, r *http.Request, body string) signed {
	t.Helper()
	authorization := r.Header.Get("Authorization")
	_, rest, _ := strings.Cut(authorization, "SignedHeaders=")
	names, signature, ok := strings.Cut(rest, ", Signature=")
	if !ok || !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 Credential="+awsID+"/") {
		t.Fatalf("Authorization: %s", authorization)
	}
	headers := map[string]string{}
	for name := range strings.SplitSeq(names, ";") {
		headers[name] = strings.Join(r.Header[http.CanonicalHeaderKey(name)], ",")
	}
	headers["host"] = r.Host
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && headers[lower] == "" {
			t.Errorf("%s went out unsigned", name)
		}
	}
	return signed{awsID, awsSecret, token, service, "eu-central-1", r.Method, r.RequestURI, body, headers, signature}
}

func TestBodiesThatCannotBeSignedAreRefused(t *testing.T) {
	values := map[string][]byte{"key": []byte(awsID + ":" + awsSecret)}
	for _, protocol := range []string{"http", "h2c"} {
		o := newOutside(t, externalOptions{auth: `"aws eu-central-1 dynamodb secret:key"`, protocol: protocol, values: values}, nil)
		for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", 1<<20+1)), io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20+1)))} {
			resp, err := o.client.Post("http://example.com/", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			if text := readBody(t, resp); resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, "1 MiB") || o.last() != nil {
				t.Errorf("%s: %s %s", protocol, resp.Status, text)
			}
		}
		resp, err := o.client.Post("http://example.com/", "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20))))
		if err != nil {
			t.Fatal(err)
		}
		if readBody(t, resp); resp.StatusCode != http.StatusOK || o.last().ContentLength != 1<<20 {
			t.Errorf("%s: exactly 1 MiB: %s", protocol, resp.Status)
		}
	}
	s3 := newOutside(t, externalOptions{auth: `"aws eu-central-1 s3 secret:key"`, values: values}, nil)
	if code, body := s3.call("PUT", "/k", "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"); code != http.StatusBadRequest || s3.last() != nil {
		t.Errorf("chunks signed by nobody: %d %s", code, body)
	}
	if code, _ := s3.call("PUT", "/k", "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"); code != http.StatusOK || s3.last().Header.Get("X-Amz-Content-Sha256") != "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
		t.Error("chunks that aren't signed")
	}
	bad := newOutside(t, externalOptions{auth: `"aws eu-central-1 s3 secret:key"`, values: map[string][]byte{"key": []byte("nonsense")}}, nil)
	if code, body := bad.call("GET", "/"); code != http.StatusServiceUnavailable || strings.Contains(body, "nonsense") || bad.last() != nil {
		t.Errorf("no credentials of AWS: %d %s", code, body)
	}
}
