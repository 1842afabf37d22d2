package people

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
)

// sayUnnamed says which groups and roles that somebody was just put into nothing in the model at file names: a service may know them, but
// they may also be misspelt.
func sayUnnamed(w io.Writer, file string, groups, roles []string) {
	if len(groups)+len(roles) == 0 {
		return
	}
	m, problems, err := cli.ReadModel(file)
	if err != nil || problems.HasErrors() {
		fmt.Fprintf(w, "ward: %s can't be read, so nobody looked whether it names these groups and roles\n", file)
		return
	}
	say := func(kind string, given, known []string) {
		for _, name := range given {
			if slices.Contains(known, name) || inCondition(m, name) {
				continue
			}
			hint := ""
			if near := lexis.Nearest(name, known); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			fmt.Fprintf(w, "ward: nothing in %s names the %s %q%s\n", file, kind, cli.Clean(name), hint)
		}
	}
	say("group", groups, m.Users.Groups)
	say("role", roles, slices.Concat(m.Users.Roles, []string{model.ConsoleAdministrator, model.ConsoleOperator, model.ConsoleViewer}))
}

// inCondition tells whether a when: of the model says a name.
func inCondition(m *model.Model, name string) bool {
	for i := range m.Services {
		for _, x := range m.Services[i].Expose {
			if strings.Contains(x.Need.When, `"`+name+`"`) || strings.Contains(x.Need.When, "'"+name+"'") {
				return true
			}
		}
	}
	return false
}
