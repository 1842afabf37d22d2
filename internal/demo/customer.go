package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/wardhq/ward/internal/demo/visitor"
)

// password is every customer's: long enough to be one factor alone.
const password = "a harbour full of quiet boats"

// atWard signs somebody in as the pages ask, with an account that is made first if there is none yet.
func atWard(mail string) func(ctx context.Context, w *world, user string) error {
	return func(ctx context.Context, w *world, user string) error {
		b := visitor.Browser{Client: w.client, Mail: mail}
		page, err := b.SignIn(ctx, w.base+"/account", user, password)
		if err != nil || w.isIn(page, user) {
			return err
		}
		u, err := url.Parse(w.base)
		if err != nil {
			return err
		}
		other := visitor.Browser{Client: w.anew().client, Mail: mail}
		if _, err := other.Register(ctx, u.Scheme+"://id."+u.Host, user, password); err != nil {
			return fmt.Errorf("register: %w", err)
		}
		if page, err = b.Fill(ctx, page, map[string]string{"password": password}); err != nil {
			return err
		}
		if !w.isIn(page, user) {
			return fmt.Errorf("status %d at %s: %s", page.Status, page.URL, words(page.Body))
		}
		return nil
	}
}

// isIn tells whether a page is the shop's own about an account.
func (w *world) isIn(page visitor.Page, user string) bool {
	return page.Status == http.StatusOK && strings.HasPrefix(page.URL.String(), w.base+"/") && strings.Contains(page.Body, user)
}
