package roster

import "testing"

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"email":"a@example.org","password_hash":"$2b$04$abcdefghijklmnopqrstuuu5G5p1iBu6Bm0Fz0zPyJUWJ3Zgqo3a6"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		n, err := Parse(line)
		if err == nil && (n.Email == "" || len([]rune(n.Name)) > 100) {
			t.Errorf("took %+v", n)
		}
	})
}
