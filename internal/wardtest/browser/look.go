package browser

import (
	"cmp"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// Look is how somebody looks at a page. The zero value is a desktop in light colours, with JavaScript.
type Look struct {
	Width, Height int64  // of the window, in pixels; 1280 by 800 if zero
	Dark          bool   // prefers dark colours
	Still         bool   // prefers reduced motion
	Plain         bool   // no JavaScript
	Trusting      bool   // takes certificates that nobody signed
	Clipboard     bool   // lets the page read and write the clipboard
	Language      string // BCP 47; the browser's own if empty
}

// Wear changes how the page is looked at. JavaScript, certificates and language are those of what is opened next.
func (p *Page) Wear(l Look) {
	p.t.Helper()
	// As if the window were in front: else nothing in it has the focus.
	send(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	send(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.Plain})
	send(p, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: l.Trusting})
	send(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: cmp.Or(l.Width, 1280), Height: cmp.Or(l.Height, 800), DeviceScaleFactor: 1})
	send(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: map[bool]string{false: "light", true: "dark"}[l.Dark]},
		{Name: "prefers-reduced-motion", Value: map[bool]string{false: "no-preference", true: "reduce"}[l.Still]},
	}})
	if l.Language != "" {
		send(p, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: Ask[string](p, `() => navigator.userAgent`), AcceptLanguage: l.Language})
		send(p, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: l.Language})
	}
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		if l.Clipboard {
			if _, err := chromedp.CallBrowser(p.ctx, browser.SetPermission, browser.SetPermissionParams{
				Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted, BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
			}); err != nil {
				p.fail("grant "+name, err)
			}
		}
	}
}
