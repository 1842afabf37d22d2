package order

import "testing"

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1.2.3", "v1.0.0-rc.1+b", "1!2.0.post1", "1:3.0.11-1~deb12u2", "3.3.1-r0", "latest", "", "2024a", "1.0.x-dev"} {
		f.Add("npm", s)
		f.Add("PyPI", s)
		f.Add("Debian", s)
		f.Add("Alpine", s)
		f.Add("Maven", s)
		f.Add("RubyGems", s)
	}
	f.Fuzz(func(t *testing.T, ecosystem, s string) {
		v, err := Parse(ecosystem, s)
		if err != nil {
			return
		}
		if c, err := v.Compare(v); c != 0 || err != nil {
			t.Errorf("%s %q is %d beside itself, %v", ecosystem, s, c, err)
		}
	})
}
