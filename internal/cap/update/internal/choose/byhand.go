package choose

import (
	"path"
	"slices"
	"strings"
)

// byHand is what somebody does whose ecosystem Ward doesn't update: its own tool's word for raising one part, by the file that names the part. The
// version is an advisory's; which one is the lowest is for people to see where several lines were mended.
func byHand(p *Part) string {
	const any = "a mended version"
	to := any
	var all []string
	for _, f := range p.Findings {
		for _, v := range f.Fixed {
			if !slices.Contains(all, v) {
				all = append(all, v)
			}
		}
	}
	if len(all) > 0 {
		to = strings.Join(all, " or ")
	}
	if !plain(p.Name) || !plain(p.Version) {
		return "raise it by hand"
	}
	one := "VERSION"
	if len(all) == 1 && plain(all[0]) {
		one = all[0]
	}
	file := path.Base(p.Location.Path)
	command := map[string]string{
		"Cargo.lock":         "cargo update --precise " + one + " " + p.Name + "@" + p.Version,
		"uv.lock":            "uv lock --upgrade-package " + p.Name + "==" + one,
		"poetry.lock":        "poetry update " + p.Name,
		"Pipfile.lock":       "pipenv upgrade " + p.Name + "==" + one,
		"pdm.lock":           "pdm update " + p.Name,
		"Gemfile.lock":       "bundle lock --update " + p.Name + " --conservative",
		"composer.lock":      "composer update " + p.Name + " --with " + p.Name + ":" + one + " --no-install --no-scripts --no-plugins",
		"packages.lock.json": "dotnet add package " + p.Name + " --version " + one,
		"pom.xml":            "set the version of " + p.Name + " in pom.xml",
		"gradle.lockfile":    "gradle dependencies --update-locks " + p.Name,
		"mix.lock":           "mix deps.update " + p.Name,
		"pubspec.lock":       "dart pub upgrade " + p.Name,
		"Package.resolved":   "swift package update " + p.Name,
		"requirements.txt":   "write " + p.Name + "==" + one + " in " + file,
	}[file]
	switch {
	case command == "" && p.Ecosystem == "NuGet":
		command = "dotnet add package " + p.Name + " --version " + one
	case command == "":
		command = "raise " + p.Name
	}
	return "by hand, to " + to + ": " + command
}

// plain tells whether a word can stand in a command that somebody copies.
func plain(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && r != '/' && r != '@' && r != ':' && r != '+' && r != '~' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}
