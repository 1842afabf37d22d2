package diff

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
)

// watchFields compares what is done with what is seen: who is told, what is answered, what is promised and kept.
func watchFields(old, new *model.Watch) []Field {
	f := fields{}
	f.add("watch sends to", sorted(old.Destinations()), sorted(new.Destinations()))
	f.add("watch tells", told(old.Notify), told(new.Notify))
	f.add("watch only observes", observed(old.Rules), observed(new.Rules))
	f.add("watch promises", promises(&old.SLO), promises(&new.SLO))
	f.add("watch never blocks", sorted(old.NeverBlock), sorted(new.NeverBlock))
	f.add("console is at", old.Console.Host, new.Console.Host)
	f.add("console shows itself to", sorted(old.Console.Viewer), sorted(new.Console.Viewer))
	f.add("console is operated by", sorted(old.Console.Operator), sorted(new.Console.Operator))
	f.add("console is administered by", sorted(old.Console.Administrator), sorted(new.Console.Administrator))
	f.add("watch lays traps", strconv.FormatBool(!old.NoCanaries), strconv.FormatBool(!new.NoCanaries))
	f.add("ledger keeps", kept(&old.Ledger), kept(&new.Ledger))
	f.add("ledger is anchored in", anchors(old.Anchor), anchors(new.Anchor))
	return f
}

func told(all []model.Notify) string {
	var out []string
	for i := range all {
		n := &all[i]
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%s %s%s%s %s", n.To, n.URL, n.URLFile, n.Address, n.Least)), " "))
	}
	return sorted(out)
}

func observed(all []model.WatchRule) string {
	var out []string
	for i := range all {
		if all[i].Observe {
			out = append(out, all[i].Name)
		}
	}
	return sorted(out)
}

func promises(s *model.SLO) string {
	out := []string{objective("all", s.Objective)}
	for i := range s.Services {
		out = append(out, objective(string(s.Services[i].Service), s.Services[i].Objective))
	}
	if out[0] == "all" {
		out = out[1:]
	}
	return sorted(out)
}

func objective(of string, o model.Objective) string {
	if o.Availability > 0 {
		of += " " + number(o.Availability) + "%"
	}
	if o.P99 > 0 {
		of += fmt.Sprintf(" p99 %d ms", o.P99)
	}
	return of
}

func kept(l *model.LedgerKeep) string {
	var out []string
	if len(l.Allowed) > 0 {
		out = append(out, "allowed calls of "+sorted(l.Allowed))
	}
	if l.Budget > 0 {
		out = append(out, size(l.Budget))
	}
	if l.Days > 0 {
		out = append(out, strconv.Itoa(l.Days)+" days")
	}
	return strings.Join(out, ", ")
}

func anchors(all []model.Anchor) string {
	var out []string
	for i := range all {
		out = append(out, all[i].File+all[i].Webhook+all[i].RFC3161)
	}
	return sorted(out)
}
