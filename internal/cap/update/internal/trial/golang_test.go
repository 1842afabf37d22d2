package trial

import (
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

func TestChangeOfGoMayRaiseAnotherFurther(t *testing.T) {
	asking := map[string]map[string]string{"example.com/good@v1.1.0": {
		"go.mod": "module example.com/good\n\ngo 1.21\n\nrequire example.com/bad v1.2.0\n",
		"lib.go": "package good\n\nimport \"example.com/bad\"\n\nfunc Answer() int { return bad.Answer() }\n",
	}}
	proxy := goProxy(t, join(lib("example.com/bad", "v1.0.0", "2"), lib("example.com/bad", "v1.1.0", "2"), lib("example.com/bad", "v1.2.0", "2"), lib("example.com/good", "v1.0.0", "2"), asking))
	c := goConfig(t, proxy, map[string]string{
		"go.mod":      project["go.mod"],
		"app.go":      project["app.go"],
		"app_test.go": "package app\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum() != 2 {\n\t\tt.Fatal(Sum())\n\t}\n}\n",
	})
	out, err := begin(t, c).Try(t.Context(), []choose.Change{change("example.com/bad", "v1.0.0", "v1.1.0"), change("example.com/good", "v1.0.0", "v1.1.0")})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Passed) != 2 || out.Attempts != 1 || !strings.Contains(string(out.Files["go.mod"]), "example.com/bad v1.2.0\n") {
		t.Errorf("%+v", out)
	}
}
