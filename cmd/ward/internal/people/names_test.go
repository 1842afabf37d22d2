package people

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestGroupsAndRolesThatNothingNamesAreSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ward.yaml")
	const text = `app: shop
users: {groups: [staff], roles: [editor]}
services:
  web:
    run: x
    listen: http://:8080
    expose: {route: GET /a, to: signed-in, when: '"night" in user.roles'}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		groups, roles []string
		want          string
	}{
		"nothing given":   {nil, nil, ""},
		"named":           {[]string{"staff"}, []string{"editor", "ward-admin", "ward-operator", "ward-viewer"}, ""},
		"by a condition":  {nil, []string{"night"}, ""},
		"misspelt":        {[]string{"staf"}, []string{"ward-admn"}, "ward: nothing in " + file + " names the group \"staf\"; did you mean \"staff\"?\nward: nothing in " + file + " names the role \"ward-admn\"; did you mean \"ward-admin\"?\n"},
		"something else":  {nil, []string{"xyz"}, "ward: nothing in " + file + " names the role \"xyz\"\n"},
		"a role as group": {[]string{"editor"}, nil, "ward: nothing in " + file + " names the group \"editor\"\n"},
	} {
		var out bytes.Buffer
		if sayUnnamed(&out, file, x.groups, x.roles); out.String() != x.want {
			t.Errorf("%s: %q, want %q", name, out.String(), x.want)
		}
	}
	var out bytes.Buffer
	if sayUnnamed(&out, file+"x", nil, []string{"editor"}); out.Len() == 0 {
		t.Error("nobody hears of a model that can't be read")
	}
}
