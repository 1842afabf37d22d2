package mesh

import (
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wire"
)

// kinds are the events so far, as "kind where form" or "kind coding".
func (o *outside) kinds() map[string]wire.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]wire.Event{}
	for _, e := range o.events {
		d := e.Detail
		out[strings.Join(strings.Fields(e.Kind+" "+d["where"]+" "+d["form"]+d["coding"]), " ")] = e
	}
	return out
}

// TestEchoesAreMaskedAndFlagged: what an external says back of the credential, the service doesn't read.
func TestEchoesAreMaskedAndFlagged(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		for auth, want := range map[string]string{
			`"bearer secret:key"`:           "secret.echo body raw",
			`"basic ada secret:key"`:        "secret.echo body raw", // the pair is a value too
			`"header X-Api-Key secret:key"`: "secret.echo body raw",
			`"query key secret:key"`:        "secret.echo body raw",
		} {
			o := newOutside(t, externalOptions{auth: auth, protocol: protocol}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Last")
				for _, v := range r.Header {
					w.Header().Add("X-Echo", strings.Join(v, ","))
				}
				w.Header().Set("Location", r.URL.String())
				fmt.Fprint(w, r.URL, " ", r.Header, " hex ", fmt.Sprintf("%x", secretValue), " and ", base64.StdEncoding.EncodeToString([]byte("ada:"+secretValue)))
				w.Header().Set("X-Last", secretValue)
			})
			for _, target := range []string{"/", "/?not=x"} {
				req, _ := http.NewRequest("GET", "http://example.com"+target, nil)
				req.Header.Set("Accept-Encoding", "gzip")
				resp, err := o.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body := readBody(t, resp)
				all := fmt.Sprint(resp.Header, body, resp.Trailer)
				for _, secret := range []string{secretValue, base64.StdEncoding.EncodeToString([]byte("ada:" + secretValue)), fmt.Sprintf("%x", secretValue), "jtT1"} {
					if strings.Contains(all, secret) {
						t.Errorf("%s %s: %s shows %s", protocol, auth, all, secret)
					}
				}
				if !strings.Contains(all, "*****") {
					t.Errorf("%s %s: nothing is masked in %s", protocol, auth, all)
				}
				if got := o.last().Header["Accept-Encoding"]; len(got) != 1 || got[0] != "identity" {
					t.Errorf("%s %s: Accept-Encoding %q", protocol, auth, got)
				}
			}
			events := o.kinds()
			for _, kind := range []string{want, "secret.echo body hex", "secret.echo head raw"} {
				if e, ok := events[kind]; !ok || e.Subject != "web" || e.Object != "api" || e.Detail["secret"] != "key" {
					t.Errorf("%s %s: no %s in %v", protocol, auth, kind, events)
				}
			}
			if strings.Contains(fmt.Sprint(events), secretValue) {
				t.Errorf("%s %s: the value is in the ledger", protocol, auth)
			}
		}
	}
}

func TestAnswersThatCannotBeLookedIntoAreSaid(t *testing.T) {
	o := newOutside(t, externalOptions{auth: `"bearer secret:key"`}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, r.Header)
		z.Close()
	})
	for range 3 {
		o.call("GET", "/")
	}
	o.mesh.FlushDenials()
	e, ok := o.kinds()["secret.unseen gzip"]
	if !ok || e.Count != 2 { // the first is told at once
		t.Errorf("%v", o.kinds())
	}
}

func readBody(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
