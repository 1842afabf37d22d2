package credential

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/finding"
)

// alphabets are what examples may be drawn from.
func alphabets() map[string]string {
	const lower, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	upper := strings.ToUpper(lower)
	return map[string]string{
		"hex": digits + "abcdef", "HEX": digits + "ABCDEF", "digits": digits, "lower": lower + digits, "ALNUM": upper + digits, "alnum": lower + upper + digits,
		"letters": lower + upper, "b64": lower + upper + digits + "+/", "b64url": lower + upper + digits + "-_", "BASE32": upper + "234567",
		"BECH32": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
	}
}

// drawn fills an example's lots in, always the same ones, and returns the longest lot.
func drawn(t *testing.T, example string) (text, longest string) {
	t.Helper()
	seed := fnv.New64()
	_, _ = seed.Write([]byte(example))
	r := rand.New(rand.NewPCG(seed.Sum64(), 1))
	text = regexp.MustCompile(`\{(\w+):(\d+)\}`).ReplaceAllStringFunc(example, func(lot string) string {
		name, size, _ := strings.Cut(strings.Trim(lot, "{}"), ":")
		alphabet := alphabets()[name]
		n, err := strconv.Atoi(size)
		if err != nil || alphabet == "" {
			t.Fatalf("no lot is called %s", lot)
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		if n > len(longest) {
			longest = string(b)
		}
		return string(b)
	})
	return text, longest
}

func rulesOf(t *testing.T) []*rule {
	t.Helper()
	rules, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func found(t *testing.T, name, text string) Result {
	t.Helper()
	res, err := Find(context.Background(), fstest.MapFS{name: {Data: []byte(text)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func ids(res Result) []string {
	var out []string
	for _, f := range res.Findings {
		out = append(out, f.ID)
	}
	return out
}

func TestEveryRuleFindsItsBadExamplesAndNotItsGoodOnes(t *testing.T) {
	seen := map[string]bool{}
	rules := rulesOf(t)
	all := matcherOf(rules)
	for _, r := range rules {
		t.Run(r.ID, func(t *testing.T) {
			if seen[r.ID] || !strings.HasPrefix(r.ID, "secret-") {
				t.Error("the name is taken, or not one of ours")
			}
			seen[r.ID] = true
			if r.Title == "" || r.Opens == "" || r.Revoke == "" || !strings.HasPrefix(r.URL, "https://") || r.severity < finding.SeverityNone || r.severity == finding.SeverityNone && !r.Identifier || len(r.Bad) == 0 || (r.Token == "") != (len(r.Keywords) == 0) || (r.Value == "") != (len(r.Names) == 0) || r.Token+r.Value == "" {
				t.Errorf("incomplete: %+v", r)
			}
			for _, k := range slices.Concat(r.Keywords, r.Names) {
				if k == "" || k != strings.ToLower(k) {
					t.Errorf("keyword %q isn't in lower case", k)
				}
			}
			r.token()
			r.value()
			for _, example := range r.Bad {
				text, lot := drawn(t, example)
				hits := all.find("", []byte(text))
				if len(hits) != 1 || hits[0].rule != r {
					t.Errorf("not found once in %q: %d", text, len(hits))
					continue
				}
				f := hits[0].finding(finding.Location{Path: "a", Line: 1})
				said, _ := json.Marshal(f)
				if bytes.Contains(said, []byte(lot[:5])) {
					t.Errorf("the finding holds the credential: %s", said)
				}
			}
			for _, example := range r.Good {
				text, _ := drawn(t, example)
				for _, h := range all.find("", []byte(text)) {
					t.Errorf("%s found in %q", h.rule.ID, text)
				}
			}
		})
	}
}

func TestRegularPublishedAndWordlikeValuesAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		rule rule
		text string
		want int
	}{
		"drawn by lot":     {rule{Entropy: 3}, "tok_q8Zr2LmX0vBw7KpD", 1},
		"regular":          {rule{Entropy: 3}, "tok_abababababababab", 0},
		"like words":       {rule{Entropy: 3, Random: true}, "tok_FirstNameOfUser2", 0},
		"random, by lot":   {rule{Entropy: 3, Random: true}, "tok_q8Zr2LmX0vBw7KpD", 1},
		"part of a longer": {rule{Entropy: 3}, "tok_q8Zr2LmX0vBw7KpDx", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.rule
			r.Keywords, r.token = []string{"tok_"}, lazy("tok_[A-Za-z0-9]{16}")
			hits := matcherOf([]*rule{&r}).find("", []byte(c.text))
			if len(hits) != c.want {
				t.Errorf("%d hits", len(hits))
			}
			if len(hits) == 1 {
				r.Published = []string{hex.EncodeToString(hits[0].value[:8])}
				if len(matcherOf([]*rule{&r}).find("", []byte(c.text))) != 0 {
					t.Error("a published value is a hit")
				}
			}
		})
	}
}

func TestKeywordsFitTheAutomaton(t *testing.T) {
	bytesOf, total := map[byte]bool{}, 0
	for _, r := range rulesOf(t) {
		for _, k := range slices.Concat(r.Keywords, r.Names) {
			total += len(k)
			for i := range len(k) {
				bytesOf[k[i]] = true
			}
		}
	}
	if len(bytesOf) >= maxClasses || total > 30_000 {
		t.Errorf("%d different bytes, %d in all", len(bytesOf), total)
	}
}

func FuzzAutomatonFindsWhatContainsFinds(f *testing.F) {
	words := []string{"he", "she", "his", "hers", "s", "aab", "ab"}
	a := newAutomaton(words)
	f.Add([]byte("usHErs aaab"))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, want := map[string]int{}, map[string]int{}
		a.find(src, func(w uint16, end int) { got[words[w]+strconv.Itoa(end)]++ })
		for _, w := range words {
			for i := range src {
				if end := i + len(w); end <= len(src) && string(src[i:end]) != "" && asciiEqual(src[i:end], w) {
					want[w+strconv.Itoa(end)]++
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func asciiEqual(b []byte, lower string) bool {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func FuzzFindKeepsToTheText(f *testing.F) {
	rules, err := loadRules()
	if err != nil {
		f.Fatal(err)
	}
	m := matcherOf(rules)
	f.Add([]byte("token = \"ghp_\npassword: '\\n\\\"x"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, src []byte) {
		last := 0
		for _, h := range m.find("", src) {
			if h.start < last || h.end <= h.start || h.end > len(src) {
				t.Fatalf("%d to %d after %d of %d", h.start, h.end, last, len(src))
			}
			last = h.end
		}
	})
}

func TestFindSaysWhereAndNumbersDifferentOnes(t *testing.T) {
	a, _ := drawn(t, "ghp_{alnum:36}")
	b, _ := drawn(t, "gho_{alnum:36}")
	res := found(t, "src/main.py", "# ü\nx = 1\n  ä = '"+a+"'\nb = '"+b+"'\nagain = '"+a+"'\n")
	var got []finding.Location
	var titles []string
	for _, f := range res.Findings {
		got, titles = append(got, f.Location), append(titles, f.Title)
	}
	want := []finding.Location{{Path: "src/main.py", Line: 3, Column: 8}, {Path: "src/main.py", Line: 4, Column: 6}, {Path: "src/main.py", Line: 5, Column: 10}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"GitHub token ghp_…", "GitHub token gho_… (no. 2 here)", "GitHub token ghp_…"}, titles); d != "" {
		t.Error(d)
	}
}

func TestMoreCertainRuleWins(t *testing.T) {
	text, _ := drawn(t, `github_token = "ghp_{alnum:36}"`)
	if d := cmp.Diff([]string{"secret-github-token"}, ids(found(t, "a.py", text))); d != "" {
		t.Error(d)
	}
}

func TestGuessesStayOutOfFilesThatAreFullOfThem(t *testing.T) {
	text, _ := drawn(t, `api_key = "{alnum:32}"`)
	sure, _ := drawn(t, `key = ghp_{alnum:36}`)
	for name, want := range map[string]int{
		"app/settings.py": 1, "app/testdata/settings.py": 0, "yarn.lock": 0, "a.min.js": 0, "settings_test.go": 0, "test_settings.py": 0, "tests/x.py": 0,
	} {
		if got := len(found(t, name, text).Findings); got != want {
			t.Errorf("%s: %d guesses, want %d", name, got, want)
		}
		if got := len(found(t, name, sure).Findings); got != 1 {
			t.Errorf("%s: a sure one was left out", name)
		}
	}
	if got := len(found(t, "app.js", text+strings.Repeat("x", 5_000)).Findings); got != 0 {
		t.Errorf("in a minified file: %d", got)
	}
	if f := found(t, "app/settings.py", text).Findings; len(f) != 1 || f[0].Unsure == "" {
		t.Errorf("a guess isn't called one: %+v", f)
	}
}

func TestInlineCommentsDontSilence(t *testing.T) {
	text, _ := drawn(t, "x = 'ghp_{alnum:36}' # gitleaks:allow nosec")
	if len(found(t, "a.py", text).Findings) != 1 {
		t.Error("a comment silenced it")
	}
}

func TestTextInUTF16IsRead(t *testing.T) {
	text, _ := drawn(t, "ü ghp_{alnum:36}\r\n")
	for name, put := range map[string]func(b []byte, u uint16) []byte{
		"\xff\xfe": func(b []byte, u uint16) []byte { return append(b, byte(u), byte(u>>8)) },
		"\xfe\xff": func(b []byte, u uint16) []byte { return append(b, byte(u>>8), byte(u)) },
	} {
		src := []byte(name)
		for _, u := range utf16.Encode([]rune(text)) {
			src = put(src, u)
		}
		if res := found(t, "a.txt", string(src)); len(res.Findings) != 1 || res.Binary != 0 {
			t.Errorf("%x: %+v", name, res)
		}
	}
}

func TestTextWithoutAMarkOrWithStrangeBytesIsRead(t *testing.T) {
	text, _ := drawn(t, "password of the shop: ghp_{alnum:36}\r\n")
	var little, big []byte
	for _, u := range utf16.Encode([]rune(text)) {
		little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
	}
	for name, c := range map[string]struct {
		src                       string
		findings, files, problems int
	}{
		"a.txt": {string(little), 1, 1, 0}, "b.txt": {string(big), 1, 1, 0}, "c.env": {"\x00" + text, 1, 1, 0}, "d": {text + "\x00\x00", 1, 1, 0},
		"program": {strings.Repeat("\x00\x01\x02", 50) + text, 0, 0, 0}, "e.env": {strings.Repeat("\x00\x01\x02", 50) + text, 0, 0, 1},
	} {
		res := found(t, name, c.src)
		if len(res.Findings) != c.findings || res.Files != c.files || len(res.Problems) != c.problems || res.Binary != 1-c.files-c.problems {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

// TestTextInTwoEncodingsIsRead: PowerShell's >> appends UTF-16 to whatever there is, and a mark alone makes no UTF-16.
func TestTextInTwoEncodingsIsRead(t *testing.T) {
	wide := func(s string, order binary.AppendByteOrder) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	text, _ := drawn(t, "key = ghp_{alnum:36}\n")
	long := strings.Repeat("nothing to see here, ü 字 😀\n", 100)
	for name, src := range map[string]string{
		"a mark before ASCII": "\xff\xfe\n" + text, "another mark": "\xfe\xff\n" + text,
		"UTF-16 after ASCII": "A=1\n" + wide(text, binary.LittleEndian), "the other one": "A=1\n" + wide(text, binary.BigEndian),
		"UTF-16 long after ASCII": strings.Repeat("A=1\n", 3000) + wide(text, binary.LittleEndian), "odd": strings.Repeat("A=1\n", 99) + "B" + wide(long+text, binary.BigEndian),
		"ASCII after UTF-16": "\xff\xfe" + wide(long, binary.LittleEndian) + text, "without a mark": wide(strings.Repeat("nothing here\r\n", 600), binary.BigEndian) + text,
		"between": "\xfe\xff" + wide(long, binary.BigEndian) + text + wide(long, binary.BigEndian), "and so": "\xff\xfe" + wide(long, binary.LittleEndian) + text + wide(long, binary.LittleEndian),
		"after an odd one": "\xff\xfe" + wide(long, binary.LittleEndian) + "twenty and one bytes\n" + wide(text, binary.LittleEndian),
	} {
		if res := found(t, "settings", src); len(res.Findings) != 1 || res.Binary != 0 {
			t.Errorf("%s: %+v", name, res)
		}
	}
	if got := string(fromUTF16([]byte("\xff\xfe"+wide(long, binary.LittleEndian)), binary.LittleEndian)); got != long {
		t.Errorf("%.100q", got)
	}
}

func TestKeyStoresAreKnownByNameOrContent(t *testing.T) {
	store := "\x30\x82\x09\xf1\x02\x01\x03\x30" + strings.Repeat("\x00\x81\x01\x02\xfe", 50)
	for name, c := range map[string]struct {
		src  string
		want int
	}{
		"tls.P12": {"", 1}, "tls.pfx": {"\x00\x01\x02", 1}, "tls.bin": {store, 1}, "tls.p12.md": {"text", 0}, "tls.der": {"\x30\x82\x09\xf1\x30" + store, 0},
	} {
		res := found(t, name, c.src)
		if len(res.Findings) != c.want || c.want == 1 && (res.Findings[0].ID != "secret-keystore" || res.Findings[0].Unsure == "") {
			t.Errorf("%s: %+v", name, res.Findings)
		}
	}
}

func TestRulesForSomeFilesHoldThereAndTakeNothingsPlace(t *testing.T) {
	source, _ := drawn(t, `<add key="ClearTextPassword" value="{alnum:16}" />`)
	guess, _ := drawn(t, `password = "{alnum:24}"`)
	for name, want := range map[string][]string{"nuget.config": {"secret-nuget-password"}, "other.config": nil} {
		if d := cmp.Diff(want, ids(found(t, name, source))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	form, _ := drawn(t, `"secret_key" => "sk_{alnum:29}"`)
	for name, want := range map[string]string{"a.js": "secret-assigned", "a.php": "secret-assigned"} {
		if d := cmp.Diff([]string{want}, ids(found(t, name, form))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for _, name := range []string{"main.tf", "main.py"} {
		if d := cmp.Diff([]string{"secret-assigned"}, ids(found(t, name, guess))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestIdentifiersAreNoSecrets(t *testing.T) {
	text, _ := drawn(t, "asana_client_id = {digits:16}")
	fs := found(t, "a.py", text).Findings
	if len(fs) != 1 || fs[0].Severity != finding.SeverityNone || strings.Contains(fs[0].Fix, "Revoke") {
		t.Errorf("%+v", fs)
	}
	if fs := found(t, "testdata/a.py", text).Findings; len(fs) != 0 {
		t.Errorf("in test data: %+v", fs)
	}
}

func TestAKeyThatTakesAnothersPlaceIsNew(t *testing.T) {
	one, _ := drawn(t, "a = ghp_{alnum:36}")
	two, _ := drawn(t, "b = ghp_{alnum:36}")
	two = strings.Replace(two, "b =", "a =", 1)
	old, moved, other := found(t, "a.py", one).Findings[0], found(t, "a.py", two+"\n"+one).Findings[1], found(t, "a.py", two).Findings[0]
	if old.Fingerprint() != moved.Fingerprint() {
		t.Error("the same key behind another one is taken for a new one")
	}
	if old.Fingerprint() == other.Fingerprint() {
		t.Error("another key passes for the one that was there")
	}
}

func TestWhatIsNotSearchedIsSaid(t *testing.T) {
	secret, _ := drawn(t, "ghp_{alnum:36}\n")
	tree := fstest.MapFS{
		"large.sql":                 {Data: append(bytes.Repeat([]byte("insert into t values (1);\n"), maxFile/26+1), secret...)},
		"large.bin":                 {Data: append(make([]byte, maxFile+1), secret...)},
		".git/config":               {Data: []byte(secret)},
		"node_modules/a/index.js":   {Data: []byte(secret)},
		"skipped/a":                 {Data: []byte(secret)},
		"link":                      {Data: []byte("a"), Mode: fs.ModeSymlink},
		"a":                         {Data: []byte("plain")},
		"many":                      {Data: []byte(strings.Repeat(secret, maxFindings+1))},
		"deep/" + "x/y/z/empty.txt": {},
	}
	res, err := Find(context.Background(), tree, Options{Skip: func(name string) bool { return name == "skipped" }})
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for _, p := range res.Problems {
		problems = append(problems, p.Path+": "+p.Reason)
	}
	want := []string{"large.sql: read: larger than 32 MiB", "many: looks like more than 1000 credentials; the rest isn't listed"}
	if d := cmp.Diff(want, problems); d != "" {
		t.Error(d)
	}
	if res.Binary != 1 || res.Files != 3 || len(res.Findings) != maxFindings {
		t.Errorf("binary %d, files %d, findings %d", res.Binary, res.Files, len(res.Findings))
	}
}

func TestFilesThatCannotBeOpenedAreProblems(t *testing.T) {
	res, err := Find(context.Background(), closed{fstest.MapFS{"a": {Data: []byte("x")}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]finding.Problem{{Path: "a", Reason: "read: permission denied"}}, res.Problems); d != "" {
		t.Error(d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Find(ctx, fstest.MapFS{"a": {}}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// closed opens folders only.
type closed struct{ fstest.MapFS }

func (c closed) Open(name string) (fs.File, error) {
	if name == "a" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return c.MapFS.Open(name)
}
