package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// userLetters make no words and are hard to confuse (RFC 8628 §6.1).
const userLetters = "BCDFGHJKLMNPQRSTVWXZ"

const (
	userLength  = 8 // 34 bits
	devicePause = 5 // seconds between polls
)

// The states of a device authorization.
const (
	deviceWaits = iota
	deviceAllowed
	deviceDenied
	deviceFetched
)

// deviceRequest is what a device asks for, and then what it was given.
type deviceRequest struct {
	grant.Authorization
	From string `json:"from,omitempty"` // the network that it asked from
}

// deviceAnswer is RFC 8628 §3.2.
type deviceAnswer struct {
	Device   string `json:"device_code"`
	User     string `json:"user_code"`
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int64  `json:"expires_in"`
	Interval int64  `json:"interval"`
}

func newUserCode() string {
	var b [userLength]byte
	for i := range b {
		for {
			_, _ = rand.Read(b[i : i+1]) // it never fails (crypto/rand)
			if int(b[i]) < 256/len(userLetters)*len(userLetters) {
				break
			}
		}
		b[i] = userLetters[int(b[i])%len(userLetters)]
	}
	return string(b[:])
}

// readUserCode is a user code as it is stored, of what somebody typed; "" for none.
func readUserCode(typed string) string {
	if len(typed) > 64 {
		return ""
	}
	code := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(typed))
	if len(code) != userLength || strings.Trim(code, userLetters) != "" {
		return ""
	}
	return code
}

func showUserCode(code string) string { return code[:userLength/2] + "-" + code[userLength/2:] }

// userHash is what is stored of a user code: it is too short for a plain hash.
func (p *Provider) userHash(code string) string {
	mac := hmac.New(sha256.New, p.Seal.Reveal())
	mac.Write([]byte("ward user code v1 " + code))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// network is the /24 or /48 of an address.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	n, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return n.String()
}

// deviceAuthorization begins a device's way (RFC 8628 §3.1).
func (p *Provider) deviceAuthorization(ctx context.Context, c *call) (any, error) {
	if !c.client.Allows("device_code") {
		return nil, refuse(unauthorizedClient, "this client may not use the device grant")
	}
	scope, err := scopeFor(c.client, c.get("scope"))
	if err != nil {
		return nil, err
	}
	if _, err := p.audience(c.client, c.form["resource"], true); err != nil {
		return nil, err
	}
	d := deviceRequest{From: network(p.Visitor(c.r).IP)}
	d.Client, d.Scope, d.Resources = c.client.Name, scope, c.form["resource"]
	code, user := grant.Random(), newUserCode()
	taken := false
	err = p.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO oidc_device (hash, user_hash, client, data, state, pause, polled_at, expires) VALUES (?, ?, ?, ?, 0, ?, 0, ?) ON CONFLICT DO NOTHING",
			grant.Hash(code), p.userHash(user), d.Client, encode(d), devicePause, c.now.Add(deviceLife).UnixMicro())
		taken = n == 0
		return err
	})
	if err == nil && taken {
		err = fault.New(fault.Unavailable, "the user code is taken")
	}
	if err != nil {
		return nil, fmt.Errorf("keep device code: %w", err)
	}
	return deviceAnswer{
		Device: code, User: showUserCode(user), URI: p.Issuer + pathDevice,
		Complete: p.Issuer + pathDevice + "?user_code=" + showUserCode(user), Expires: int64(deviceLife / time.Second), Interval: devicePause,
	}, nil
}

// deviceCode answers a device's poll (RFC 8628 §3.4).
func (p *Provider) deviceCode(ctx context.Context, c *call, bound binding) (*tokens, error) {
	if c.get("device_code") == "" {
		return nil, refuse(invalidRequest, "device_code is missing")
	}
	hash := grant.Hash(c.get("device_code"))
	var data string
	var answer error
	err := p.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var owner string
		var state, pause, polled, expires int64
		err := tx.QueryRow(ctx, "SELECT client, data, state, pause, polled_at, expires FROM oidc_device WHERE hash = ?", hash).Scan(&owner, &data, &state, &pause, &polled, &expires)
		switch {
		case errors.Is(err, store.ErrNoRows), err == nil && (owner != c.client.Name || state == deviceFetched):
			answer = refuse(invalidGrant, "the device code isn't valid or was used")
			return nil
		case err != nil:
			return err
		case c.now.UnixMicro() >= expires:
			answer = refuse(expiredToken, "the device code has expired")
			return nil
		case state == deviceDenied:
			answer = refuse(accessDenied, "the person said no")
			return nil
		case state == deviceAllowed:
			answer = nil
			return nil
		}
		answer = refuse(pending, "the person hasn't answered")
		if c.now.Sub(time.UnixMicro(polled)) < time.Duration(pause)*time.Second {
			answer = refuse(slowDown, "wait five seconds longer between requests")
			pause += 5
		}
		_, err = tx.Exec(ctx, "UPDATE oidc_device SET polled_at = ?, pause = ? WHERE hash = ?", c.now.UnixMicro(), pause, hash)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("poll device code: %w", err)
	}
	if answer != nil {
		return nil, answer
	}
	var d deviceRequest
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		return nil, fmt.Errorf("read device code: %w", err)
	}
	out, err := p.begin(ctx, c, &d.Authorization, bound, func(ctx context.Context, tx *store.Tx, _ string) (bool, error) {
		n, err := tx.Exec(ctx, "UPDATE oidc_device SET state = ? WHERE hash = ? AND state = ?", deviceFetched, hash, deviceAllowed)
		return n == 1, err
	})
	if errors.Is(err, errUsed) {
		return nil, refuse(invalidGrant, "the device code isn't valid or was used")
	}
	return out, err
}

// device is the page where a person lets a device in (RFC 8628 §3.3).
func (p *Provider) device(w http.ResponseWriter, r *http.Request) error {
	form, err := pageForm(w, r)
	if err != nil {
		return err
	}
	code := readUserCode(form.Get("user_code"))
	session, err := p.Accounts.Session(r)
	if err != nil {
		return err
	}
	if !alive(session, p.Clock.Now()) {
		resume := pathDevice
		if code != "" {
			resume += "?user_code=" + url.QueryEscape(showUserCode(code))
		}
		return p.beginSignIn(w, r, signin.Request{MaxAge: -1, FactorAge: -1, Resume: resume})
	}
	frame := p.frame(w, r, pathDevice)
	if r.Method != http.MethodPost {
		view := page.Device{Frame: frame}
		if code != "" {
			view.UserCode = showUserCode(code)
		}
		return p.Pages.Render(w, r, http.StatusOK, view)
	}
	if !p.sameSite(r, form, pathDevice) {
		frame.Problems = []page.Problem{{Text: page.ProblemStale}}
		return p.Pages.Render(w, r, http.StatusForbidden, page.Device{Frame: frame})
	}
	if wait := p.tries.wait(session.Person.ID, p.Clock.Now()); wait > 0 {
		return p.Pages.Render(w, r, http.StatusTooManyRequests, page.Limited{Frame: frame, After: wait})
	}
	d, err := p.findDevice(r.Context(), code)
	if err != nil {
		return err
	}
	if d == nil {
		p.tries.failed(session.Person.ID, p.Clock.Now())
		frame.Problems = []page.Problem{{Field: "user_code", Text: page.ProblemDevice}}
		return p.Pages.Render(w, r, http.StatusOK, page.Device{Frame: frame})
	}
	return p.decideDevice(w, r, deviceDecision{code, form.Get("do"), d, session, frame})
}

type deviceDecision struct {
	code, do string
	d        *deviceRequest
	session  *signin.Session
	frame    page.Frame
}

func (p *Provider) decideDevice(w http.ResponseWriter, r *http.Request, x deviceDecision) error {
	ctx := r.Context()
	state := map[string]int{"allow": deviceAllowed, "deny": deviceDenied}[x.do]
	if state == deviceWaits {
		c, err := p.Clients.Find(ctx, x.d.Client)
		if err != nil {
			return err
		}
		return p.Pages.Render(w, r, http.StatusOK, page.DeviceConfirm{
			Frame: x.frame, UserCode: showUserCode(x.code), Client: page.Client{Name: c.Title}, Scopes: scopesShown(x.d.Scope),
			Who: x.session.Person.Email, From: x.d.From,
		})
	}
	x.d.Authorization = given(x.d.Authorization, x.session)
	err := p.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE oidc_device SET state = ?, data = ? WHERE user_hash = ? AND state = ?", state, encode(x.d), p.userHash(x.code), deviceWaits)
		return err
	})
	if err != nil {
		return fmt.Errorf("answer device: %w", err)
	}
	p.record("consent."+map[bool]string{true: "given", false: "denied"}[state == deviceAllowed], x.session.Person.ID, x.d.Client, map[string]string{"scope": join(x.d.Scope), "by": "device"})
	return p.Pages.Render(w, r, http.StatusOK, page.DeviceDone{Frame: x.frame, Allowed: state == deviceAllowed})
}

// findDevice finds a device that waits; nil if there is none.
func (p *Provider) findDevice(ctx context.Context, code string) (*deviceRequest, error) {
	if code == "" {
		return nil, nil
	}
	var data string
	err := p.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT data FROM oidc_device WHERE user_hash = ? AND state = ? AND expires > ?", p.userHash(code), deviceWaits, p.Clock.Now().UnixMicro()).Scan(&data)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	var d deviceRequest
	if err == nil {
		err = json.Unmarshal([]byte(data), &d)
	}
	if err != nil {
		return nil, fmt.Errorf("read device code: %w", err)
	}
	return &d, nil
}

// tries counts wrong user codes per person, so that they can't be guessed (RFC 8628 §5.1).
type tries struct {
	mu     sync.Mutex // guards counts
	counts map[string]*count
}

type count struct {
	n     int
	until time.Time
}

const (
	maxTries   = 10
	triesTime  = 10 * time.Minute
	maxCounted = 10_000
)

func newTries() *tries { return &tries{counts: map[string]*count{}} }

// wait is how long somebody has to wait before the next try. When too many people are counted, new ones wait too.
func (t *tries) wait(who string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts[who]
	if c == nil && len(t.counts) >= maxCounted {
		maps.DeleteFunc(t.counts, func(_ string, c *count) bool { return !now.Before(c.until) })
		if len(t.counts) >= maxCounted {
			return triesTime
		}
	}
	if c != nil && c.n >= maxTries && now.Before(c.until) {
		return c.until.Sub(now)
	}
	return 0
}

func (t *tries) failed(who string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts[who]
	if c == nil || !now.Before(c.until) {
		c = &count{until: now.Add(triesTime)}
		t.counts[who] = c
	}
	c.n++
}
