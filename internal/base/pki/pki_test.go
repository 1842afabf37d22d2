package pki

import "testing"

func FuzzParseTargetName(f *testing.F) {
	f.Add("p8080.orders.shop.internal")
	f.Add("p0.x.shop.internal")
	f.Add("p08080.orders.shop.internal")
	f.Add("orders.shop.internal")
	f.Fuzz(func(t *testing.T, name string) {
		s, p, err := ParseTargetName(name, "shop.internal")
		if err == nil && TargetName(s, p, "shop.internal") != name {
			t.Fatalf("%q parses to %q and %d, which is another name", name, s, p)
		}
	})
}
