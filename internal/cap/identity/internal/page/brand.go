package page

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
	"unicode"
)

// rgb is a colour in sRGB, 0 to 255 each.
type rgb struct{ r, g, b float64 }

var hexColor = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^#[0-9a-fA-F]{6}$`) })

const wardBlue = "#2b5bd7"

// The surfaces of static/ward.css that the brand's colour meets, the least favourable of each scheme.
var (
	lightSurface = rgb{0xf3, 0xf4, 0xf7}
	darkSurface  = rgb{0x20, 0x24, 0x2c}
	white        = rgb{255, 255, 255}
	black        = rgb{0, 0, 0}
)

const (
	textContrast  = 4.5 // WCAG 2.2, 1.4.3
	shapeContrast = 3.0 // WCAG 2.2, 1.4.11
)

type brand struct {
	css, icon []byte
}

// newBrand makes the brand's style sheet and icon. A colour too close to the page is moved away
// from it until buttons and links can be seen.
func newBrand(name, color string) (brand, error) {
	if color == "" {
		color = wardBlue
	}
	if !hexColor().MatchString(color) {
		return brand{}, fmt.Errorf("the colour %q isn't like %s", color, wardBlue)
	}
	n, _ := strconv.ParseUint(color[1:], 16, 24) // six hexadecimal digits
	c := rgb{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
	css := "/* Made from the operator's colour " + color + ". */\n" +
		":root {" + scheme(c, lightSurface, black) + "}\n" +
		"@media (prefers-color-scheme: dark) { :root {" + scheme(c, darkSurface, white) + "} }\n"
	initial := 'W'
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			initial = unicode.ToUpper(r)
			break
		}
	}
	fill := apart(c, lightSurface, black, shapeContrast)
	icon := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/>`+
		`<text x="16" y="22.5" font-family="system-ui,sans-serif" font-size="18" font-weight="700" text-anchor="middle" fill="%s">%c</text></svg>`,
		fill, inkOn(fill), initial)
	return brand{css: []byte(css), icon: []byte(icon)}, nil
}

// scheme is the brand's custom properties against a surface; away is where contrast grows.
func scheme(c, surface, away rgb) string {
	fill := apart(c, surface, away, shapeContrast)
	ink := inkOn(fill)
	hover := black
	if ink == black {
		hover = white // away from the text on it, so that its contrast only grows
	}
	return fmt.Sprintf(" --brand: %s; --brand-hover: %s; --on-brand: %s; --link: %s; ",
		fill, fill.towards(hover, 0.12), ink, apart(c, surface, away, textContrast))
}

// inkOn is black or white, whichever can be read better on c: at least 4.58:1 on any colour,
// because the two contrasts multiply to 21.
func inkOn(c rgb) rgb {
	if contrast(c, white) >= contrast(c, black) {
		return white
	}
	return black
}

// apart moves c towards away until it has the contrast with the surface, as written in CSS.
func apart(c, surface, away rgb, least float64) rgb {
	for i := 0; i <= 100; i++ {
		if m := c.towards(away, float64(i)/100); contrast(m, surface) >= least {
			return m
		}
	}
	return away
}

// towards mixes by t of 1 and rounds to what CSS can say.
func (c rgb) towards(to rgb, t float64) rgb {
	mix := func(a, b float64) float64 { return math.Round(a + (b-a)*t) }
	return rgb{mix(c.r, to.r), mix(c.g, to.g), mix(c.b, to.b)}
}

func (c rgb) String() string { return fmt.Sprintf("#%02x%02x%02x", int(c.r), int(c.g), int(c.b)) }

// contrast of two colours, 1 to 21 (WCAG 2.2, "contrast ratio" and "relative luminance").
func contrast(a, b rgb) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func (c rgb) luminance() float64 {
	linear := func(v float64) float64 {
		v /= 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}
