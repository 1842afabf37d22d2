package upstream

import (
	"os"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/wardfile"
)

func TestDocumentedExamplesAreRead(t *testing.T) {
	b, err := os.ReadFile("../../../../../docs/sign-in-with.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(b), "```yaml\n")[1:]
	if len(parts) != 6 {
		t.Errorf("%d examples", len(parts))
	}
	for _, p := range parts {
		example, _, _ := strings.Cut(p, "```")
		m, problems := wardfile.Parse("ward.yaml", strings.NewReader("app: shop\ngateway: {listen: \"127.0.0.1:8443\", host: shop.example}\nservices:\n  web: {run: [web], listen: \"http://:8080\"}\n"+example))
		for _, x := range problems {
			if x.Severity == model.Error {
				t.Errorf("%s\n%s: %s", example, x.Message, x.Hint)
			}
		}
		if len(m.Users.Providers)+len(m.Users.Issuers) != 1 {
			t.Errorf("%s: %+v", example, m.Users)
		}
	}
}
