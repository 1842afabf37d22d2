// Package chart draws lines over time as parts of an SVG, which a page puts together.
//
// Guarantee: the same values give the same picture; what isn't known is a gap, never a zero; whatever the values are, the picture stays within its
// frame. Not guaranteed: that steps narrower than a pixel can be seen.
package chart

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The frame, in the picture's units.
const (
	Width, Height = 640, 150
	left, right   = 8, 632
	top, bottom   = 18, 126
)

// Series is a line.
type Series struct {
	Name   string
	Values []*float64 // by step; nil where nothing is known
}

// Chart is what a page draws.
type Chart struct {
	Title  string
	Lines  []Line
	Grid   []Mark // levels
	Times  []Mark // below
	Empty  bool   // nothing is known
	Latest string // of each line, for who can't see it
}

// Line is one of a Chart's.
type Line struct {
	Name   string
	Number int // from 1: which of the page's strokes it has
	D      string
	Dots   []Dot // values that stand alone
	Last   string
	Most   string
}

// Dot is a value without neighbours.
type Dot struct{ X, Y string }

// Mark is a label at a place.
type Mark struct {
	At   string
	Text string
}

// Draw draws values that end at a time, a step apart; say writes a value with its unit.
func Draw(title string, all []Series, end time.Time, step time.Duration, say func(float64) string) Chart {
	c := Chart{Title: title, Empty: true}
	most, n := 0.0, 0
	for _, s := range all {
		n = max(n, len(s.Values))
		for k, v := range s.Values {
			if known(s.Values, k) {
				most, c.Empty = max(most, *v), false
			}
		}
	}
	if c.Empty {
		return c
	}
	ceiling := round(most)
	y := func(v float64) float64 {
		return bottom - (bottom-top)*min(max(v/ceiling, 0), 1)
	}
	x := func(i int) float64 {
		if n < 2 {
			return right
		}
		return left + (right-left)*float64(i)/float64(n-1)
	}
	var latest []string
	for i, s := range all {
		l := Line{Name: s.Name, Number: i + 1, Last: "-", Most: "-"}
		highest := math.Inf(-1)
		var d strings.Builder
		for k, v := range s.Values {
			if !known(s.Values, k) {
				continue
			}
			highest = max(highest, *v)
			l.Last, l.Most = say(*v), say(highest)
			before, after := known(s.Values, k-1), known(s.Values, k+1)
			if !before && !after {
				l.Dots = append(l.Dots, Dot{fmt.Sprintf("%.1f", x(k)), fmt.Sprintf("%.1f", y(*v))})
				continue
			}
			command := "L"
			if !before {
				command = "M"
			}
			fmt.Fprintf(&d, "%s%.1f %.1f", command, x(k), y(*v))
		}
		l.D = d.String()
		c.Lines = append(c.Lines, l)
		latest = append(latest, fmt.Sprintf("%s: now %s, at most %s", s.Name, l.Last, l.Most))
	}
	c.Latest = strings.Join(latest, "; ")
	for _, share := range []float64{0, 0.5, 1} {
		c.Grid = append(c.Grid, Mark{fmt.Sprintf("%.1f", y(ceiling*share)), say(ceiling * share)})
	}
	whole := step * time.Duration(max(n-1, 0))
	form := "15:04"
	if whole > 36*time.Hour {
		form = "2 Jan"
	}
	for i := range 5 {
		at := end.Add(-whole * time.Duration(4-i) / 4)
		c.Times = append(c.Times, Mark{fmt.Sprintf("%.1f", left+(right-left)*float64(i)/4), at.UTC().Format(form)})
	}
	return c
}

func known(values []*float64, k int) bool {
	return k >= 0 && k < len(values) && values[k] != nil && !math.IsNaN(*values[k]) && !math.IsInf(*values[k], 0)
}

// round is the next 1, 2 or 5 times a power of ten.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5, 10} {
		if v <= f*unit {
			return f * unit
		}
	}
	return 10 * unit
}
