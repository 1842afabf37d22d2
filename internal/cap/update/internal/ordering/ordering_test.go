package ordering

import "testing"

func TestVersionsAreOrderedAsTheirEcosystemDoes(t *testing.T) {
	for ecosystem, lines := range map[string][][]string{ // each line lowest first
		"Go":      {{"nonsense", "v1.0.0-rc.1", "v1.0.0", "1.2.0", "v1.10.0"}},
		PyPI:      {{"1.0.dev1", "1.0a1", "1.0rc1", "1.0", "1.0.post1", "1.9", "1.10", "2024.1", "1!0.1"}},
		Packagist: {{"1.0.0-alpha1", "1.0.0-beta2", "1.0.0-RC1", "v1.0.0", "1.0.1", "v1.10"}},
		RubyGems:  {{"1.0.0.beta1", "1.0.0.rc1", "1.0.0", "1.0.0.1", "1.2", "1.10.0"}},
	} {
		for _, line := range lines {
			for i := range line {
				for j := range line {
					want := 0
					if i < j {
						want = -1
					} else if i > j {
						want = 1
					}
					if got := Compare(ecosystem, line[i], line[j]); got != want {
						t.Errorf("%s: %s and %s: %d", ecosystem, line[i], line[j], got)
					}
				}
			}
		}
	}
	for _, same := range [][3]string{{"Go", "v1.0.0", "1.0.0"}, {PyPI, "1.0", "1.0.0"}, {PyPI, "1.0.RC1", "1.0rc1"}, {Packagist, "v1.0.0", "1.0.0"}, {RubyGems, "1.0", "1.0.0"}} {
		if !Same(same[0], same[1], same[2]) {
			t.Error(same)
		}
	}
}

func TestOnlyWhatIsSurelyAVersionIsOne(t *testing.T) {
	for ecosystem, all := range map[string]map[string]bool{
		"npm":     {"1.0.0": true, "latest": false, "": false},
		PyPI:      {"1": true, "1!2.3.post4.dev5+local.6": true, "2.0.0-1": true, "1.0.*": false, "master": false, "1.0 --index-url x": false, "": false, "-r": false},
		Packagist: {"v1.2.3.4": true, "1.0-p1": true, "dev-main": false, "1.x-dev": false, "1.2.3.4.5": false, "": false},
		RubyGems:  {"1.2.3": true, "1.16.0-x86_64": false, "1.a": true, "a": false, "1..2": false, "": false},
	} {
		for v, want := range all {
			if got := Valid(ecosystem, v); got != want {
				t.Errorf("%s %q: %v", ecosystem, v, got)
			}
		}
	}
}

func TestPreReleasesAndLeapsAreSeen(t *testing.T) {
	for _, c := range []struct {
		ecosystem, v      string
		pre               bool
		major, majorMinor string
	}{
		{"npm", "1.2.3-rc.1", true, "v1", "v1.2"},
		{PyPI, "2.1rc1", true, "v2", "v2.1"},
		{PyPI, "2", false, "v2", "v2.0"},
		{PyPI, "1!02.3.post1", false, "v1!2", "v1!2.3"},
		{PyPI, "2.0.dev3", true, "v2", "v2.0"},
		{Packagist, "v3.4.1-beta2", true, "v3", "v3.4"},
		{Packagist, "v3.4.1-p2", false, "v3", "v3.4"},
		{RubyGems, "7.0.8.rc1", true, "v7", "v7.0"},
		{RubyGems, "7.0.8", false, "v7", "v7.0"},
	} {
		if Pre(c.ecosystem, c.v) != c.pre || Major(c.ecosystem, c.v) != c.major || MajorMinor(c.ecosystem, c.v) != c.majorMinor {
			t.Errorf("%s %s: %v %s %s", c.ecosystem, c.v, Pre(c.ecosystem, c.v), Major(c.ecosystem, c.v), MajorMinor(c.ecosystem, c.v))
		}
	}
}
