package reach

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan/words"
)

// Text says the report for people; file is the name that lines are given with.
func (r *Report) Text(file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "if %s (%s) is taken over\n", r.Service, rank(r.Sensitivity))
	services, externals := 0, 0
	for _, s := range r.Steps {
		if s.External {
			externals++
		} else {
			services++
		}
	}
	fmt.Fprintf(&b, "  it reaches %s, %s, %s of data; score %d\n", words.Count(services, "service"), words.Count(externals, "external"),
		classes(len(r.Data)), r.Score)
	if len(r.Exposed) == 0 {
		b.WriteString("  the outside has no way in to it\n")
	} else {
		fmt.Fprintf(&b, "  the outside has %s in to it\n", words.Count(len(r.Exposed), "way"))
	}
	hop := 0
	for _, s := range r.Steps {
		if s.Hop != hop {
			hop = s.Hop
			b.WriteString("\n" + hopTitle(hop) + "\n")
		}
		s.text(&b, file)
	}
	r.lootText(&b)
	r.layersText(&b)
	return b.String()
}

func classes(n int) string {
	if n == 1 {
		return "1 class"
	}
	return strconv.Itoa(n) + " classes"
}

func hopTitle(hop int) string {
	switch hop {
	case 1:
		return "hop 1: exactly these routes"
	case 2:
		return "hop 2: if what hop 1 reaches is taken over too (worst case)"
	default:
		return fmt.Sprintf("hop %d: if what hop %d reaches is taken over too (worst case)", hop, hop-1)
	}
}

func (s *Step) text(b *strings.Builder, file string) {
	trait := rank(s.Sensitivity).String()
	if s.External {
		trait = "external"
	}
	fmt.Fprintf(b, "  %s (%s)\n", s.Name, trait)
	var rows [][]string
	for _, v := range s.Via {
		from := "from " + v.From
		for _, r := range v.Routes {
			grant := r.Grant.String()
			if r.Until != "" {
				grant += " (observed until " + r.Until + ")"
			}
			rows = append(rows, []string{from, words.Ports(r.Ports), grant, fmt.Sprintf("%s:%d", file, r.Line)})
			from = ""
		}
	}
	b.WriteString(words.Columns("    ", rows))
}

func (r *Report) lootText(b *strings.Builder) {
	if len(r.Data) > 0 {
		b.WriteString("\ndata\n")
		var rows [][]string
		for _, d := range r.Data {
			rows = append(rows, []string{d.Class, atHop(d.Hop), "in " + strings.Join(d.Services, ", ")})
		}
		b.WriteString(words.Columns("  ", rows))
	}
	if len(r.Files) > 0 {
		b.WriteString("\nfiles beside each service's workdir\n")
		var rows [][]string
		for _, f := range r.Files {
			verb := "read"
			if f.Write {
				verb = "read and write"
			}
			rows = append(rows, []string{f.Path, atHop(f.Hop), verb, "by " + f.Service})
		}
		b.WriteString(words.Columns("  ", rows))
	}
}

func atHop(hop int) string {
	if hop == 0 {
		return "its own"
	}
	return "hop " + strconv.Itoa(hop)
}

// layersText says the layers of each kind of step once, not of each step.
func (r *Report) layersText(b *strings.Builder) {
	if len(r.Steps) == 0 {
		return
	}
	b.WriteString("\nlayers that stand on each hop\n")
	var rows [][]string
	said := map[string]bool{}
	for _, s := range r.Steps {
		what := "to a service"
		layers := s.Layers
		switch {
		case s.External:
			what = "to " + s.Name
		case s.Hop > 1:
			continue // as at hop 1, after the sandbox of the service before it
		default:
			layers = layers[:len(layers)-1]
			layers = append(append([]string{}, layers...), "inbound: the service's own list of callers")
		}
		if said[what] {
			continue
		}
		said[what] = true
		for _, l := range layers {
			rows = append(rows, []string{what, l})
			what = ""
		}
	}
	if len(r.Steps) > 0 && r.Steps[len(r.Steps)-1].Hop > 1 {
		rows = append(rows, []string{"from hop 2 on", "first the sandbox of the service before it, and a hole in that service"})
	}
	b.WriteString(words.Columns("  ", rows))
}

// RankText says the ranking for people.
func RankText(rows []Row) string {
	table := [][]string{{"service", "score", "services", "externals", "direct", "highest", "outside", "data"}}
	for _, r := range rows {
		outside, highest := "", ""
		if r.Outside {
			outside = "yes"
		}
		if r.Highest != model.SensitivityUnset {
			highest = r.Highest.String()
		}
		table = append(table, []string{
			r.Service, strconv.Itoa(r.Score), strconv.Itoa(r.Services), strconv.Itoa(r.Externals), strconv.Itoa(r.Direct),
			highest, outside, strings.Join(r.Data, ", "),
		})
	}
	return words.Columns("", table) + "\nwhat each service reaches if it and all that it reaches are taken over; 'ward reach SERVICE' shows the hops\n"
}
