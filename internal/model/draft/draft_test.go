package draft

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model/wardfile"
)

func TestComposeDrafts(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"two published services share the gateway", "services:\n  a: {ports: ['80:80']}\n  b: {ports: ['81:80']}\n", `{route: "* /b/**", to: anyone}`},
		{"anchors and merge keys", "x-a: &a {restart: 'no'}\nservices:\n  a:\n    <<: *a\n", "restart: never"},
		{"a shell command", "services: {a: {command: 'a && b $$X'}}", "run: [sh, -c, a && b $X]"},
		{"long port form", "services: {a: {ports: [{target: 50051, published: 1}]}}", "listen: grpc://:50051"},
		{"udp is said", "services: {a: {ports: ['53:53/udp']}}", "UDP port 53 is not carried over"},
		{"names that clash", "services: {a_b: {}, a.b: {}}", "a-b-2:"},
		{"a service without a known port", "services: {a: {depends_on: [b]}, b: {}}", "depends on b, whose port is unknown"},
		{"a name with control characters", "services: {\"a\\nb\": {}}", "a-b:"},
		{"no services but null", "services: {a: }", "run: ./a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Compose("My App", []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(got), c.want) {
				t.Errorf("no %q in\n%s", c.want, got)
			}
		})
	}
}

func TestDraftRefuses(t *testing.T) {
	for _, in := range []string{"", "services: {}", "a: [", "services: []", strings.Repeat("[", 5000)} {
		if out, err := Compose("a", []byte(in)); err == nil {
			t.Errorf("%q became %s", in, out)
		}
	}
	for _, in := range []string{"", "# x\n", "web\n", "web:\n", "a b: c\n"} {
		if out, err := Procfile("a", []byte(in)); err == nil {
			t.Errorf("%q became %s", in, out)
		}
	}
}

func TestARefusedLineIsNamed(t *testing.T) {
	_, err := Procfile("a", []byte("# c\nweb: x\nbad line\n"))
	if want := `line 3: "bad line" is no line of a Procfile, which is name: command`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func check(t *testing.T, out []byte, err error) {
	t.Helper()
	if err != nil {
		return
	}
	if _, ps := wardfile.Parse("draft", bytes.NewReader(out)); ps.HasErrors() {
		t.Fatalf("%s\n%s", ps, out)
	}
}

func FuzzCompose(f *testing.F) {
	f.Add([]byte("services:\n  a: {image: redis, command: [--x], ports: ['1:2'], volumes: [./a:/b], environment: {A: 'http://b:1'}}\n  b: {build: ./b}\n"))
	f.Add([]byte("services: {a: &a {command: x}, b: *a, c: {<<: *a}}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Compose("fuzz", src)
		check(t, out, err)
	})
}

func FuzzProcfile(f *testing.F) {
	f.Add([]byte("web: a -p $PORT\nworker: b | c\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Procfile("fuzz", src)
		check(t, out, err)
	})
}
