package preview

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestEverySampleRendersInEveryLanguage(t *testing.T) {
	p := newPages(t, "")
	for _, s := range Samples() {
		for _, lang := range []string{"en", "de"} {
			r := httptest.NewRequest("GET", "/preview/"+s.Name, nil)
			r.Header.Set("Accept-Language", lang)
			w := httptest.NewRecorder()
			if err := p.Render(w, r, s.Status, s.View); err != nil {
				t.Errorf("%s in %s: %v", s.Name, lang, err)
				continue
			}
			body := w.Body.String()
			if w.Code != s.Status || !strings.Contains(body, `<html lang="`+lang+`">`) || !strings.HasSuffix(body, "</html>\n") {
				t.Errorf("%s in %s: status %d\n%s", s.Name, lang, w.Code, body)
			}
			if strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") || strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") {
				t.Errorf("%s in %s holds what it mustn't:\n%s", s.Name, lang, body)
			}
		}
	}
}
