package wardfile

import (
	"path"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
)

func (p *parser) scan(n *yaml.Node, f *form.Form) {
	s := &p.m.Scan
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "fail":
			s.Fail, _ = p.scalar(e.value, f)
		case "refuse":
			word, _ := p.scalar(e.value, f)
			s.Refuse = word == "exploited"
		case "max_age":
			s.MaxAgeDays = p.days(e.value, f)
		case "skip":
			for _, n := range p.items(e.value, f) {
				if v, ok := p.pattern(n, f.Elem, ""); ok {
					s.Skip = append(s.Skip, path.Clean(v))
				}
			}
		case "ignore":
			s.Ignore = p.ignores(e.value, f)
		}
	})
}

func (p *parser) update(n *yaml.Node, f *form.Form) {
	u := &p.m.Update
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "wait":
			u.WaitDays = p.days(e.value, f)
		case "limit":
			u.Limit = p.whole(e.value, f)
		case "merge":
			if u.Merge, _ = p.scalar(e.value, f); u.Merge == "never" {
				u.Merge = ""
			}
		case "forge":
			u.Forge, _ = p.scalar(e.value, f)
		case "ignore":
			u.Ignore = p.ignores(e.value, f)
		}
	})
}

func (p *parser) ignores(n *yaml.Node, f *form.Form) []model.Ignore {
	var out []model.Ignore
	for _, n := range p.items(n, f) {
		i := model.Ignore{Pos: pos(n)}
		p.object(n, f.Elem, func(e entry, f *form.Form) {
			switch e.key {
			case "until":
				i.Until = p.date(e.value, f)
			case "vex":
				i.VEX, _ = p.scalar(e.value, f)
			default:
				v, _ := p.pattern(e.value, f, "")
				*map[string]*string{"id": &i.ID, "package": &i.Package, "path": &i.Path, "reason": &i.Reason}[e.key] = v
			}
		})
		if i.Path != "" {
			i.Path = path.Clean(i.Path)
		}
		out = append(out, i)
	}
	return out
}
