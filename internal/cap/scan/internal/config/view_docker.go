package config

import (
	"strconv"
	"strings"
)

// dockerfile lists the stages, instructions and commands of a Dockerfile.
func (v *view) dockerfile(src []byte) {
	file, err := parseDockerfile(src)
	if err != nil {
		v.problem(0, "read Dockerfile: %v", err)
		return
	}
	v.problems = append(v.problems, file.warnings...)
	v.judged = true
	stages, loose := stagesOf(file)
	views := make([]map[string]any, len(stages))
	for i := range stages {
		views[i] = stages[i].view(i == len(stages)-1)
		stages[i].seen = views[i]
	}
	whole := map[string]any{"stages": views}
	for i := range stages {
		st := &stages[i]
		vars := map[string]any{"file": whole, "stage": views[i]}
		v.subjects = append(v.subjects, subject{scope: "stage", name: st.title(len(stages)), vars: vars, line: st.from.line, value: views[i]})
		for j, in := range st.instructions {
			v.instruction(in, with(vars, "instruction", st.views[j]), st.views[j])
		}
	}
	for _, in := range loose {
		view := in.view(nil)
		v.instruction(in, map[string]any{"file": whole, "stage": nil, "instruction": view}, view)
	}
}

// instruction lists one, and its commands.
func (v *view) instruction(in *instruction, vars, value map[string]any) {
	v.subjects = append(v.subjects, subject{scope: "instruction", item: excerpt(in.name + " " + in.text), vars: vars, line: in.line, value: value})
	if in.name != "RUN" && in.name != "CMD" && in.name != "ENTRYPOINT" {
		return
	}
	commands, cut := commandsOf(in.script())
	if cut {
		v.problem(in.line, "more than %d commands in one instruction; the others weren't checked", maxCommands)
	}
	for _, c := range commands {
		line := in.line
		if !in.json {
			line = in.lineAt(c.offset)
		}
		v.subjects = append(v.subjects, subject{scope: "cmd", name: in.name, item: excerpt(c.text), vars: with(vars, "cmd", c.view()), line: line})
	}
}

// stage is one FROM and what follows it.
type stage struct {
	name         string
	base         string // the image, arguments replaced
	dynamic      bool   // an argument without a value is in it
	parent       *stage // the stage that it continues
	from         *instruction
	taken        bool // an earlier one has its name
	instructions []*instruction
	views        []map[string]any
	seen         map[string]any // what rules see of it
}

// stagesOf divides a file; loose are the instructions before the first FROM.
func stagesOf(file *dockerfile) (stages []stage, loose []*instruction) {
	args := map[string]string{}
	byName := map[string]int{}
	for i := range file.instructions {
		in := &file.instructions[i]
		if in.name == "FROM" && !in.build {
			st := stage{from: in}
			if len(in.args) > 0 {
				base, known := expand(in.args[0], args)
				st.base, st.dynamic = base, !known
			}
			if len(in.args) > 2 && strings.EqualFold(in.args[1], "AS") {
				st.name = strings.ToLower(in.args[2])
			}
			stages = append(stages, st)
			if _, taken := byName[st.name]; st.name != "" && !taken {
				byName[st.name] = len(stages) - 1
			}
		}
		if len(stages) == 0 {
			if in.name == "ARG" {
				for _, p := range in.pairs() {
					args[p[0]], _ = expand(p[1], args)
				}
			}
			loose = append(loose, in)
			continue
		}
		st := &stages[len(stages)-1]
		st.instructions = append(st.instructions, in)
	}
	for i := range stages {
		if j, ok := byName[strings.ToLower(stages[i].base)]; ok && j < i {
			stages[i].parent = &stages[j]
		}
		for j, in := range stages[i].instructions {
			view := in.view(stages[i].instructions[j+1:])
			view["unknown"] = in.copiesFromUnknown(byName, i)
			stages[i].views = append(stages[i].views, view)
		}
		if j := byName[stages[i].name]; stages[i].name != "" && j < i {
			stages[i].taken = true
		}
	}
	return stages, loose
}

func (st *stage) title(n int) string {
	switch {
	case n == 1:
		return "the image"
	case st.name != "":
		return "stage " + excerpt(st.name)
	}
	return "the stage from " + excerpt(st.base)
}

// copiesFromUnknown says whether --from names neither a stage before this one nor, by its look, an image.
func (in *instruction) copiesFromUnknown(byName map[string]int, stage int) bool {
	for _, f := range in.flags {
		from, ok := strings.CutPrefix(f, "--from=")
		if !ok || strings.ContainsAny(from, "/:@$.") {
			continue
		}
		if n, err := strconv.Atoi(from); err == nil {
			return n >= stage
		}
		j, ok := byName[strings.ToLower(from)]
		return !ok || j >= stage
	}
	return false
}

// view is the stage for rules. What a stage inherits from the one that it continues counts as its own.
func (st *stage) view(last bool) map[string]any {
	image := parseImage(st.base)
	if st.dynamic {
		image["dynamic"] = true
	}
	out := map[string]any{
		"name": st.name, "base": st.base, "image": image, "last": last, "continues": st.parent != nil, "taken": st.taken,
		"instructions": st.views, "user": nil, "healthcheck": false, "scratch": strings.EqualFold(st.base, "scratch"),
	}
	if st.parent != nil {
		for _, k := range []string{"user", "healthcheck", "scratch"} {
			out[k] = st.parent.seen[k]
		}
	}
	count := map[string]int64{}
	for _, in := range st.instructions {
		if in.build {
			continue
		}
		count[in.name]++
		switch in.name {
		case "USER":
			out["user"] = in.text
		case "HEALTHCHECK":
			out["healthcheck"] = !strings.EqualFold(in.text, "NONE")
		}
	}
	out["count"] = count
	return out
}

// view is the instruction for rules; later are those that follow it in its stage.
func (in *instruction) view(later []*instruction) map[string]any {
	out := map[string]any{"name": in.name, "args": in.args, "text": in.text, "flags": in.flags, "json": in.json, "onbuild": in.build, "last": true}
	for _, l := range later {
		if l.name == in.name && !l.build {
			out["last"] = false
		}
	}
	var pairs []any
	switch in.name {
	case "ENV", "ARG":
		for _, p := range in.pairs() {
			pairs = append(pairs, map[string]any{"name": p[0], "value": p[1]})
		}
	case "RUN", "CMD", "ENTRYPOINT":
		commands, _ := commandsOf(in.script())
		views := make([]any, len(commands))
		for i := range commands {
			views[i] = commands[i].view()
		}
		out["commands"] = views
	case "EXPOSE":
		var ports []any
		for _, a := range in.args {
			ports = append(ports, int64(portOf(a)))
		}
		out["ports"] = ports
	}
	out["pairs"] = pairs
	return out
}
