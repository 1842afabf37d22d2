package lexis

import "strings"

// SplitCommand splits a command line into arguments as a POSIX shell would
// (spaces, '…', "…", backslash), but expands nothing: what a shell would expand
// or treat as an operator is an error that says to name the shell.
func SplitCommand(s string) ([]string, error) {
	const hint = `Ward starts programs without a shell; put it in single quotes, or write run: [sh, -c, "..."]`
	var argv []string
	var cur strings.Builder
	open := false // cur is an argument, even if empty
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n':
			if open {
				argv = append(argv, cur.String())
				cur.Reset()
				open = false
			}
		case c == '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return nil, Errorf("", "a single quote is not closed in the command line")
			}
			cur.WriteString(s[i+1 : i+1+end])
			open = true
			i += end + 1
		case c == '"':
			n, err := quoted(s[i+1:], &cur)
			if err != nil {
				return nil, err
			}
			open = true
			i += n
		case c == '\\':
			if i++; i == len(s) {
				return nil, Errorf("", "the command line ends in a backslash")
			}
			cur.WriteByte(s[i])
			open = true
		case strings.IndexByte("|&;<>()$`*?[]{}~!", c) >= 0 && (c != '~' && c != '{' && c != '!' || !open) && c != '}' && c != ']':
			return nil, Errorf(hint, "%q means something to a shell only", string(c))
		case c == '#' && !open:
			return nil, Errorf(hint, "%q means something to a shell only", "#")
		default:
			cur.WriteByte(c)
			open = true
		}
	}
	if open {
		argv = append(argv, cur.String())
	}
	switch {
	case len(argv) == 0 || argv[0] == "":
		return nil, Errorf("", "the command line is empty")
	case strings.Contains(argv[0], "="):
		return nil, Errorf("put variables under env", "%q is a variable, not a program", Clip(argv[0]))
	}
	return argv, nil
}

// quoted appends what stands between double quotes, and says how many bytes that
// took, the closing quote included.
func quoted(s string, out *strings.Builder) (int, error) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, nil
		case c == '$' || c == '`':
			return 0, Errorf("Ward expands nothing: put it in single quotes to mean the character, or write run: [sh, -c, \"...\"]", "%q means something to a shell only", string(c))
		case c == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\", s[i+1]) >= 0:
			i++
			out.WriteByte(s[i])
		default:
			out.WriteByte(c)
		}
	}
	return 0, Errorf("", "a double quote is not closed in the command line")
}
