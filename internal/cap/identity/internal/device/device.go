// Package device says what a person would recognise of a request: browser and system, network and place, and whether
// somebody could have travelled there in the time.
//
// Guarantee: names are from fixed lists, so nothing that a client sent is shown; every input is bounded; without a
// database of places there are no places and no alarms. Not guaranteed: that a client tells the truth, or that an
// address is where the database says. They are hints for people and for flags, never a proof.
package device

import (
	"net/netip"
	"strings"
)

// Device is a browser on a system. Empty fields are unknown.
type Device struct {
	Browser string
	System  string
	Mobile  bool
}

// String is like "Firefox on Linux".
func (d Device) String() string {
	switch {
	case d.Browser != "" && d.System != "":
		return d.Browser + " on " + d.System
	case d.Browser != "":
		return d.Browser
	case d.System != "":
		return "a browser on " + d.System
	}
	return "an unknown device"
}

const maxHeader = 1024 // bytes that are looked at

type sign struct{ in, name string }

// The order matters: most browsers also call themselves by their ancestors' names.
func browsers() []sign {
	return []sign{
		{"SamsungBrowser/", "Samsung Internet"},
		{"Vivaldi/", "Vivaldi"},
		{"OPR/", "Opera"},
		{"Opera/", "Opera"},
		{"DuckDuckGo/", "DuckDuckGo"},
		{"EdgA/", "Edge"},
		{"EdgiOS/", "Edge"},
		{"Edg/", "Edge"},
		{"FxiOS/", "Firefox"},
		{"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chromium/", "Chromium"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
		{"curl/", "curl"},
		{"Wget/", "Wget"},
		{"python-requests/", "Python"},
		{"Python-urllib/", "Python"},
		{"Go-http-client/", "Go"},
		{"okhttp/", "an app"},
		{"Dalvik/", "an app"},
		{"CFNetwork/", "an app"},
	}
}

func systems() []sign {
	return []sign{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"CrOS", "ChromeOS"},
		{"Windows", "Windows"},
		{"Macintosh", "macOS"},
		{"Mac OS X", "macOS"},
		{"FreeBSD", "FreeBSD"},
		{"OpenBSD", "OpenBSD"},
		{"Linux", "Linux"},
		{"X11", "Unix"},
	}
}

// Parse reads the User-Agent header, and where present the client hints Sec-CH-UA and Sec-CH-UA-Platform, which say
// it better (W3C UA Client Hints). It never fails.
func Parse(userAgent, hintBrands, hintPlatform string) Device {
	ua := clip(userAgent)
	d := Device{Browser: find(browsers(), ua), System: find(systems(), ua)}
	d.Mobile = d.System == "iPhone" || d.System == "iPad" || strings.Contains(ua, "Mobile")
	brands := clip(hintBrands)
	for _, b := range []sign{{`"Opera"`, "Opera"}, {`"Vivaldi"`, "Vivaldi"}, {`"Brave"`, "Brave"}, {`"Microsoft Edge"`, "Edge"}, {`"Samsung Internet"`, "Samsung Internet"}, {`"Google Chrome"`, "Chrome"}} {
		if strings.Contains(brands, b.in) {
			d.Browser = b.name
			break
		}
	}
	switch clip(hintPlatform) {
	case `"Windows"`:
		d.System = "Windows"
	case `"macOS"`:
		d.System = "macOS"
	case `"Linux"`:
		d.System = "Linux"
	case `"Android"`:
		d.System = "Android"
	case `"Chrome OS"`, `"Chromium OS"`:
		d.System = "ChromeOS"
	}
	return d
}

func clip(s string) string { return s[:min(len(s), maxHeader)] }

func find(signs []sign, in string) string {
	for _, s := range signs {
		if strings.Contains(in, s.in) {
			return s.name
		}
	}
	return ""
}

// Network is the part of an address that stays while a person's line does: /24 of IPv4, /48 of IPv6. An invalid
// address has the zero prefix, which equals no network.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
