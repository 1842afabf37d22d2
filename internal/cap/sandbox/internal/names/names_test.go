package names

import (
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestEachQuestionAboutAnUnknownNameIsTold(t *testing.T) {
	var told []string
	r := newResponder(nil, func(_, name string) { told = append(told, name) })
	ask := func(name string) {
		t.Helper()
		m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}}}
		q, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if r.Answer(q) == nil {
			t.Errorf("%s has no answer", name)
		}
	}
	for range 2 {
		ask("N1.example.")
	}
	if want := []string{"n1.example", "n1.example"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}
