// Package chart draws lines over time as parts of an SVG, which a page puts together, says the same as a table, and hands the values to the page's script.
//
// Guarantee: the same values give the same picture; what isn't known is a gap, never a zero; whatever the values are, the picture stays within its
// frame. Not guaranteed: that steps narrower than a pixel can be seen.
package chart

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The frame, in the picture's units.
const (
	Width, Height = 640, 150
	left, right   = 56, 632
	top, bottom   = 18, 126
)

// Series is a line.
type Series struct {
	Name   string
	Stroke int        // which of the page's strokes it has, from 1; 0 for that of its place
	Values []*float64 // by step; nil where nothing is known
}

// Unit is what values are of.
type Unit struct {
	Name string               // number, seconds or bytes: the page's script writes values in these
	Say  func(float64) string // a value with its unit
}

// Chart is what a page draws.
type Chart struct {
	Title  string
	Lines  []Line
	Grid   []Mark // levels
	Times  []Mark // below
	Empty  bool   // nothing is known
	Latest string // of each line, for who can't see it
	Rows   []Row  // the same as a table
	Data   string // the values as JSON (data), for the page's script
}

// Row is the highest of each line in a part of the time.
type Row struct {
	From   time.Time
	Values []string // of each line; "–" where nothing is known
}

// rows is how many parts the table has, at most.
const rows = 12

// data is what the page's script gets.
type data struct {
	Unit  string     `json:"unit"`
	End   int64      `json:"end"`  // of the last value, in seconds since 1970
	Step  float64    `json:"step"` // between values, in seconds
	Lines []dataLine `json:"lines"`
}

type dataLine struct {
	Name   string       `json:"name"`
	Stroke int          `json:"stroke"`
	Values []jsonNumber `json:"values"`
}

// jsonNumber is a value in four digits, which is more than a screen shows; null where nothing is known.
type jsonNumber struct{ v *float64 }

// MarshalJSON writes it.
func (n jsonNumber) MarshalJSON() ([]byte, error) {
	if n.v == nil {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, *n.v, 'g', 4, 64), nil
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

// Draw draws values that end at a time, a step apart.
func Draw(title string, all []Series, end time.Time, step time.Duration, unit Unit) Chart {
	c, say := Chart{Title: title, Empty: true}, unit.Say
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
		l := Line{Name: s.Name, Number: cmp.Or(s.Stroke, i+1), Last: "–", Most: "–"}
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
	c.Rows = table(all, n, end, step, say)
	c.Data = encode(all, end, step, unit.Name)
	return c
}

// table is the highest of each line in parts of the time, the newest first.
func table(all []Series, n int, end time.Time, step time.Duration, say func(float64) string) []Row {
	each := (n + rows - 1) / rows
	var out []Row
	for to := n; to > 0; to -= each {
		from := max(to-each, 0)
		r := Row{From: end.Add(-step * time.Duration(n-1-from))}
		for _, s := range all {
			text, highest := "–", math.Inf(-1)
			for k := from; k < to; k++ {
				if known(s.Values, k) && *s.Values[k] > highest {
					highest = *s.Values[k]
					text = say(highest)
				}
			}
			r.Values = append(r.Values, text)
		}
		out = append(out, r)
	}
	return out
}

func encode(all []Series, end time.Time, step time.Duration, unit string) string {
	d := data{Unit: unit, End: end.Unix(), Step: step.Seconds()}
	for i, s := range all {
		l := dataLine{Name: s.Name, Stroke: cmp.Or(s.Stroke, i+1), Values: make([]jsonNumber, len(s.Values))}
		for k := range s.Values {
			if known(s.Values, k) {
				l.Values[k].v = s.Values[k]
			}
		}
		d.Lines = append(d.Lines, l)
	}
	b, err := json.Marshal(d)
	if err != nil {
		return "" // numbers can be written
	}
	return string(b)
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
