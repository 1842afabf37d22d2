package message

import (
	"embed"
	"errors"
	"fmt"
	html "html/template"
	"net/url"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/secret"
)

//go:embed texts
var texts embed.FS

// Kind is what a message is about. The zero Kind is none.
type Kind uint8

// The kinds.
const (
	None Kind = iota
	VerifyAddress
	SignInCode
	ResetPassword
	WasItYou
	NewFactor
	Recovery
	AccountThere // somebody registers with the address of an account
)

// String is the kind's name, as in the files of texts.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return kindNames[None]
	}
	return kindNames[k]
}

var kindNames = [...]string{None: "none", VerifyAddress: "verify_address", SignInCode: "sign_in_code", ResetPassword: "reset_password", WasItYou: "was_it_you", NewFactor: "new_factor", Recovery: "recovery", AccountThere: "account_there"}

// Data is what a text may say. Empty fields are left out of it.
type Data struct {
	Product string        // name of the application
	Name    string        // of the person; left out when it could pass for anything but a name
	Code    secret.Bytes  // a one-time code
	Link    secret.Bytes  // an https address of our own
	Valid   time.Duration // of code or link, rounded to minutes
	Device  string        // "Firefox on Linux"
	Place   string        // an address or city
	Factor  string        // "passkey"
	At      time.Time     // when it happened
	Host    string        // of the sign-in page; binds a code in a short message to it (WebOTP)
}

// Renderer writes messages. It is safe for concurrent use.
type Renderer struct {
	texts map[string]*template.Template // by language
	page  *html.Template
}

// Languages are those that have texts; the first is used for all others.
func Languages() []string { return []string{"en", "de"} }

// NewRenderer reads the texts.
func NewRenderer() (*Renderer, error) {
	r := &Renderer{texts: map[string]*template.Template{}}
	var err error
	if r.page, err = html.ParseFS(texts, "texts/page.html"); err != nil {
		return nil, fmt.Errorf("read message texts: %w", err)
	}
	for _, lang := range Languages() {
		if r.texts[lang], err = template.New(lang).Option("missingkey=error").ParseFS(texts, "texts/"+lang+".txt"); err != nil {
			return nil, fmt.Errorf("read message texts: %w", err)
		}
	}
	return r, nil
}

// view is Data made safe to be put in a sentence.
type view struct {
	Lang, Product, Name, Code, Link, Device, Place, Factor, At, Host string
	Minutes                                                          int
	Subject, Button, Footer                                          string
	Before, After                                                    []string // paragraphs
}

func (r *Renderer) prepare(kind Kind, lang string, d Data) (*template.Template, view, error) {
	if kind == None || int(kind) >= len(kindNames) {
		return nil, view{}, errors.New("write message: unknown kind")
	}
	t, ok := r.texts[lang]
	if !ok {
		lang = Languages()[0]
		t = r.texts[lang]
	}
	v := view{
		Lang: lang, Product: line(d.Product), Name: personName(d.Name), Code: string(d.Code.Reveal()), Link: string(d.Link.Reveal()),
		Device: line(d.Device), Place: line(d.Place), Factor: line(d.Factor), Host: line(d.Host), Minutes: int(d.Valid.Round(time.Minute) / time.Minute),
	}
	if !d.At.IsZero() {
		v.At = d.At.UTC().Format("2006-01-02 15:04 UTC")
	}
	if v.Link != "" {
		u, err := url.Parse(v.Link)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()) && u.Hostname() != "localhost") || hasControl(v.Link) || strings.Contains(v.Link, " ") {
			return nil, view{}, errors.New("write message: the link isn't an https address")
		}
	}
	return t, v, nil
}

// Mail writes one to an address.
func (r *Renderer) Mail(kind Kind, lang, to string, d Data) (Message, error) {
	t, v, err := r.prepare(kind, lang, d)
	if err != nil {
		return Message{}, err
	}
	var before, after string
	for name, into := range map[string]*string{"subject": &v.Subject, "before": &before, "after": &after, "button": &v.Button} {
		if *into, err = part(t, kind.String()+"."+name, v); err != nil {
			return Message{}, err
		}
	}
	if v.Footer, err = part(t, "footer", v); err != nil {
		return Message{}, err
	}
	hello, err := part(t, "hello", v)
	if err != nil {
		return Message{}, err
	}
	v.Before, v.After = append([]string{hello}, paragraphs(before)...), paragraphs(after)
	plain := append([]string{}, v.Before...)
	if v.Code != "" {
		plain = append(plain, "    "+v.Code)
	}
	if v.Link != "" {
		plain = append(plain, v.Link)
	}
	plain = append(append(plain, v.After...), "-- \n"+v.Footer)
	var page strings.Builder
	if err := r.page.Execute(&page, v); err != nil {
		return Message{}, errors.New("write message: the page can't be written")
	}
	return Message{To: to, Subject: v.Subject, Text: secret.New([]byte(strings.Join(plain, "\n\n") + "\n")), HTML: secret.New([]byte(page.String()))}, nil
}

// SMS writes one to a phone number. Only kinds with a code have one.
func (r *Renderer) SMS(kind Kind, lang, to string, d Data) (Message, error) {
	t, v, err := r.prepare(kind, lang, d)
	if err != nil {
		return Message{}, err
	}
	if v.Code == "" {
		return Message{}, errors.New("write message: a short message needs a code")
	}
	text, err := part(t, "sms", v)
	if err != nil {
		return Message{}, err
	}
	if v.Host != "" {
		text += "\n\n@" + v.Host + " #" + v.Code
	}
	return Message{To: to, Text: secret.New([]byte(text))}, nil
}

func part(t *template.Template, name string, v view) (string, error) {
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		return "", fmt.Errorf("write message: the text %s is missing or wrong", name)
	}
	return strings.TrimSpace(b.String()), nil
}

func paragraphs(s string) []string {
	var out []string
	for p := range strings.SplitSeq(s, "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// line makes one short line of what may come from outside.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || hasControl(string(r)) }), " ")
	if utf8.RuneCountInString(s) > 80 {
		s = string([]rune(s)[:80])
	}
	return s
}

// personName is the name, or nothing when mail programs could make a link of it or it is an announcement: whoever
// registers with another's address chooses it.
func personName(s string) string {
	s = line(s)
	for i, r := range s {
		dot := r == '.' && (i+1 == len(s) || s[i+1] == ' ')
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !dot && !strings.ContainsRune(" -'’", r) {
			return ""
		}
	}
	if utf8.RuneCountInString(s) > 40 {
		return ""
	}
	return s
}
