// Package preview shows every page with sample data, for people who work on them and for the
// tests that open each in a browser. No program of Ward's imports it.
//
// Guarantee: every view of package page has a sample; the lists of long and hostile data are
// among them. Not guaranteed: that a form leads anywhere; a preview answers each with its page.
package preview

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
)

// Sample is a page with data.
type Sample struct {
	Name   string // unique, fit for a path
	Status int
	View   page.View
}

var moment = time.Date(2026, 11, 20, 9, 41, 0, 0, time.UTC)

const (
	email   = "ada@example.com"
	getJSON = `{"publicKey":{"challenge":"AAECAwQFBgcICQoLDA0ODw","timeout":300000,"userVerification":"required"}}`
	newJSON = `{"publicKey":{"challenge":"AAECAwQFBgcICQoLDA0ODw","rp":{"name":"Sample"},"user":{"id":"AQID","name":"ada@example.com","displayName":"Ada"},` +
		`"pubKeyCredParams":[{"type":"public-key","alg":-7}],"authenticatorSelection":{"residentKey":"required","userVerification":"required"},"timeout":300000}}`
)

// Hostile is what must only ever be shown as text.
const Hostile = `"><script>alert(1)</script>{{.}}'&amp;<img src=x onerror=alert(2)>`

// New makes pages for a preview: the proof of work has no solver here.
func New(name, color string) (*page.Pages, error) {
	return page.New(page.Config{Name: name, Color: color, Modules: map[string][]byte{"pow.js": []byte("export {};\n")}})
}

// Samples are all pages, some in several states.
func Samples() []Sample {
	return append(append(signIn(), grants()...), account()...)
}

func signIn() []Sample {
	f := page.Frame{CSRF: "sample"}
	wrong := func(field string, k page.Key) page.Frame {
		return page.Frame{CSRF: "sample", Problems: []page.Problem{{Field: field, Text: k, N: 8}}}
	}
	factors := []page.Factor{
		{ID: "1", Kind: page.KindPasskey, Label: "Laptop"},
		{ID: "2", Kind: page.KindTOTP},
		{ID: "3", Kind: page.KindEmail, Label: "a•••@example.com"},
		{ID: "4", Kind: page.KindPhone, Label: "••• 67"},
		{ID: "5", Kind: page.KindRecovery},
	}
	providers := []page.Provider{{Name: "Google", URL: "/upstream/google"}, {Name: "Contoso Entra", URL: "/upstream/entra"}}
	return []Sample{
		{"sign-in", 200, page.SignIn{Frame: f, Passkey: getJSON, Providers: providers, Register: page.PathRegister, Client: "Toy Shop"}},
		{"sign-in-plain", 200, page.SignIn{Frame: f}},
		{"sign-in-wrong", 422, page.SignIn{Frame: wrong("identifier", page.ProblemEmail), Identifier: "ada", Register: page.PathRegister}},
		{"sign-in-link", 200, page.SignIn{Frame: f, Identifier: email, Passkey: getJSON, Link: "Contoso Entra"}},
		{"link-provider", 200, page.LinkProvider{Frame: f, Provider: "Google", Email: email}},
		{"make-account", 200, page.MakeAccount{Frame: f, Provider: "Google", Email: email, Person: "Ada Lovelace"}},
		{"password", 200, page.Password{Frame: f, Identifier: email, CanReset: true}},
		{"password-wrong", 401, page.Password{Frame: wrong("password", page.ProblemCredentials), Identifier: "ada.augusta.king.countess.of.lovelace@analytical-engines.example.com", CanReset: true}},
		{"choose", 200, page.Choose{Frame: f, Factors: factors}},
		{"totp", 200, page.TOTP{Frame: f, Others: true}},
		{"totp-wrong", 401, page.TOTP{Frame: wrong("code", page.ProblemCode)}},
		{"code-email", 200, page.Code{Frame: f, Kind: page.KindEmail, To: "a•••@example.com", Length: 6, Others: true}},
		{"code-phone", 200, page.Code{Frame: f, Kind: page.KindPhone, To: "••• 67", Length: 6}},
		{"second-passkey", 200, page.SecondPasskey{Frame: f, Passkey: getJSON, Others: true}},
		{"recovery-code", 200, page.RecoveryCode{Frame: f}},
		{"step-up", 200, page.StepUp{Frame: f, Next: "/sign-in"}},
		{"step-up-get", 200, page.StepUp{Frame: f, Next: "/sign-in", Replayed: true}},
		{"register", 200, page.Register{Frame: f, MinLength: 8, Work: `{"challenge":"sample"}`}},
		{"register-wrong", 422, page.Register{Frame: wrong("password", page.ProblemBreached), Person: "Ada", Email: email, MinLength: 8}},
		{"verify-email", 200, page.VerifyEmail{Frame: f, Email: email, Length: 6}},
		{"verify-link", 200, page.VerifyLink{Frame: f, Email: email}},
		{"forgot", 200, page.Forgot{Frame: f, Email: email}},
		{"forgot-sent", 200, page.ForgotSent{Frame: f, Email: email}},
		{"reset", 200, page.Reset{Frame: f, Email: email, MinLength: 8}},
		{"lost-factor", 200, page.LostFactor{Frame: f, Wait: 24 * time.Hour, Approval: true}},
		{"lost-factor-cooling", 200, page.LostFactor{Frame: f, State: page.LostCooling, Until: moment, Approval: true}},
		{"lost-factor-approval", 200, page.LostFactor{Frame: f, State: page.LostApproval}},
		{"lost-factor-refused", 200, page.LostFactor{Frame: f, State: page.LostRefused}},
	}
}

func grants() []Sample {
	f := page.Frame{CSRF: "sample"}
	client := page.Client{Name: "Ledger Reports", Host: "reports.example.org"}
	scopes := []page.Scope{{Name: "openid"}, {Name: "profile"}, {Name: "email"}, {Name: "phone"}, {Name: "groups"}, {Name: "roles"}, {Name: "offline_access"}, {Name: "orders.read", Text: "Read your orders"}, {Name: "invoices.write"}}
	return []Sample{
		{"consent", 200, page.Consent{Frame: f, Client: client, Scopes: scopes, Who: email}},
		{"device", 200, page.Device{Frame: f}},
		{"device-wrong", 422, page.Device{Frame: page.Frame{Problems: []page.Problem{{Field: "user_code", Text: page.ProblemDevice}}}, UserCode: "WDJB-MJHT"}},
		{"device-confirm", 200, page.DeviceConfirm{Frame: f, Client: page.Client{Name: "Living-room TV"}, Scopes: scopes[:3], UserCode: "WDJB-MJHT", Who: email, From: "203.0.113.0/24"}},
		{"device-allowed", 200, page.DeviceDone{Frame: f, Allowed: true}},
		{"device-denied", 200, page.DeviceDone{Frame: f}},
		{"continue", 200, page.Continue{Frame: f, URL: "https://shop.example.org/callback?code=sample&state=sample", Host: "shop.example.org"}},
		{"sign-out", 200, page.SignOut{Frame: f, Client: "Ledger Reports"}},
		{"sign-out-own", 200, page.SignOut{Frame: f}},
		{"signed-out", 200, page.SignedOut{Frame: f, Back: "https://shop.example.org/"}},
		{"signed-out-everywhere", 200, page.SignedOut{Frame: f, Everywhere: true}},
		{"limited", 429, page.Limited{Frame: f, After: 95 * time.Second}},
		{"error", 500, page.Error{Frame: f, Text: "internal error", Reference: "01JD3QY7"}},
		{"error-not-found", 404, page.Error{Frame: f, What: page.ErrorNotFound}},
		{"error-refused", 403, page.Error{Frame: f, What: page.ErrorRefused, Reference: "01JD3QY8"}},
		{"error-request", 400, page.Error{Frame: f, What: page.ErrorRequest, Text: "redirect_uri isn't one of this client's", Reference: "01JD3QY9"}},
		{"error-expired", 400, page.Error{Frame: f, What: page.ErrorExpired}},
		{"error-provider", 403, page.Error{Frame: f, What: page.ErrorProvider}},
		{"error-closed", 403, page.Error{Frame: f, What: page.ErrorClosed}},
		{"hostile", 200, page.Consent{Frame: f, Client: page.Client{Name: Hostile, Host: Hostile}, Scopes: []page.Scope{{Name: Hostile}, {Text: Hostile}}, Who: Hostile}},
	}
}

func account() []Sample {
	f := page.Frame{CSRF: "sample", Account: email}
	noted := func(k page.Key) page.Frame { g := f; g.Notice = k; return g }
	passkey := page.Factor{ID: "1", Kind: page.KindPasskey, Label: "Laptop", Added: moment.AddDate(0, -7, 0), Used: moment}
	events := []page.Event{
		{At: moment, What: page.EventNewDevice, Device: "Chrome on Android", Place: "Lisbon, 198.51.100.0/24", Warning: true},
		{At: moment.Add(-time.Hour), What: page.EventSignIn, Device: "Firefox on Linux", Place: "Berlin"},
		{At: moment.Add(-48 * time.Hour), What: page.EventFactorAdded, Device: "Firefox on Linux"},
	}
	federal := page.Factor{ID: "upstream-1", Kind: page.KindProvider, Label: "Google", Added: moment}
	return []Sample{
		{"account", 200, page.Account{Frame: f, Person: "Ada", Email: email, Verified: true, Factors: 2, RecoveryLeft: 8, Sessions: 3, Last: moment, LastDevice: "Firefox on Linux"}},
		{"account-new", 200, page.Account{Frame: f, Person: "Ada", Email: email, Factors: 1, Sessions: 1}},
		{"profile", 200, page.Profile{Frame: noted(page.NoticeSaved), Person: "Ada", Email: email, Verified: true}},
		{"profile-unverified", 200, page.Profile{Frame: f, Person: "Ada", Email: email}},
		{"factors", 200, page.Factors{Frame: noted(page.NoticeRemoved), List: []page.Factor{passkey, {ID: "2", Kind: page.KindTOTP, Added: moment}, {ID: "3", Kind: page.KindPhone, Label: "••• 67"}, federal}, RecoveryLeft: 8, CanPhone: true}},
		{"factors-none", 200, page.Factors{Frame: f}},
		{"remove-factor", 200, page.RemoveFactor{Frame: f, Factor: passkey}},
		{"add-passkey", 200, page.AddPasskey{Frame: f, Passkey: newJSON, Label: "Firefox on Linux"}},
		{"add-totp", 200, page.AddTOTP{Frame: f, QR: picture(), Key: secret.New([]byte("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"))}},
		{"add-phone", 200, page.AddPhone{Frame: f}},
		{"add-phone-sent", 200, page.AddPhone{Frame: f, Phone: "••• 67", Sent: true, Length: 6}},
		{"recovery-codes", 200, page.RecoveryCodes{Frame: f, Left: 2}},
		{"recovery-codes-shown", 200, page.RecoveryCodes{Frame: f, Codes: codes()}},
		{"sessions", 200, page.Sessions{Frame: f, List: []page.Session{
			{ID: "1", Device: "Firefox on Linux", Place: "Berlin, 203.0.113.0/24", Started: moment.Add(-9 * time.Hour), Seen: moment, Current: true},
			{ID: "2", Device: "Safari on iPhone", Place: "Berlin", Started: moment.Add(-90 * time.Hour), Seen: moment.Add(-2 * time.Hour)},
		}}},
		{"activity", 200, page.Activity{Frame: f, List: events, Older: "/account/activity?before=3"}},
		{"activity-none", 200, page.Activity{Frame: f}},
		{"was-it-you", 200, page.WasItYou{Frame: page.Frame{CSRF: "sample"}, Event: events[0]}},
		{"secured", 200, page.Secured{Frame: page.Frame{CSRF: "sample"}, ResetURL: "/reset"}},
		{"data", 200, page.Data{Frame: f}},
		{"delete", 200, page.Delete{Frame: f, Email: email}},
	}
}

func codes() []secret.Bytes {
	var out []secret.Bytes
	for i := range 10 {
		out = append(out, secret.New(fmt.Appendf(nil, "k7qd-m2xw-9r4t-h%d3v", i)))
	}
	return out
}

// picture stands for a QR code.
func picture() secret.Bytes {
	m := image.NewGray(image.Rect(0, 0, 33, 33))
	for y := range 33 {
		for x := range 33 {
			if (x*7+y*13+x*y)%3 != 0 {
				m.Set(x, y, color.White)
			}
		}
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m) // a buffer takes everything
	return secret.New(b.Bytes())
}

// Handler serves a list of the samples at /, each at /preview/NAME, and the assets.
func Handler(p *page.Pages) http.Handler {
	mux := http.NewServeMux()
	var list strings.Builder
	for _, s := range Samples() {
		fmt.Fprintf(&list, "<li><a href=\"/preview/%s\">%s</a>\n", s.Name, html.EscapeString(s.Name))
		mux.HandleFunc("/preview/"+s.Name, func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.URL.Path = strings.TrimSuffix(page.PathAccount+"/"+s.Name, "/account") // marks the tab of the account's pages
			_ = p.Render(w, r, s.Status, s.View)                                     // a preview's error is its 500
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>Preview</title><ul>\n%s</ul>\n", list.String())
	})
	mux.Handle("/assets/", p.Assets())
	return mux
}
