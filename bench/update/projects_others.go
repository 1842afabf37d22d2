package main

import (
	"slices"
	"strings"
)

// lockOf is the lock file of each tool that npm's projects are tried with, too.
func lockOf(tool string) string {
	return map[string]string{"npm": "package-lock.json", "yarn": "yarn.lock", "pnpm": "pnpm-lock.yaml"}[tool]
}

// otherProjects are some of npm's with a lock file of yarn or pnpm: the same should come of them.
func otherProjects() []project {
	var out []project
	for _, tool := range []string{"yarn", "pnpm"} {
		for _, p := range npmProjects() {
			kind := strings.TrimPrefix(p.name, "npm-")
			if kind != "patches" && kind != "express" && kind != "broken" && kind != "lock" && kind != "override" {
				continue
			}
			p.name, p.tool = tool+"-"+kind, tool
			touch := map[string]string{}
			for part, files := range p.touch {
				names := strings.Fields(strings.ReplaceAll(files, "package-lock.json", lockOf(tool)))
				slices.Sort(names)
				touch[part] = strings.Join(names, " ")
			}
			p.touch = touch
			out = append(out, p)
		}
	}
	return out
}

// install makes a lock file, with what an older one held if there are pins; argv makes it again.
func install(p project) (pins string, argv []string) {
	switch p.tool {
	case "yarn":
		return `{"resolutions": PINS,`, []string{"yarn", "install", "--ignore-scripts", "--non-interactive", "--no-default-rc"}
	case "pnpm":
		return `{"pnpm": {"overrides": PINS},`, []string{"pnpm", "install", "--lockfile-only", "--ignore-scripts", "--no-frozen-lockfile"}
	}
	return `{"overrides": PINS,`, []string{"npm", "install", "--package-lock-only", "--ignore-scripts"}
}
