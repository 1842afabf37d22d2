package logs

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// Level is how bad a line says it is.
type Level uint8

// The levels. The zero value is for lines that don't say.
const (
	Unknown Level = iota
	Debug
	Info
	Warn
	Error
	Fatal
	Gap // no service says this: Ward tells that lines are missing here
)

var levelNames = [...]string{"", "debug", "info", "warn", "error", "fatal", "gap"}

// String is the level's name, "" for Unknown.
func (l Level) String() string {
	if l > Gap {
		return "?"
	}
	return levelNames[l]
}

// MarshalText is String.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(b []byte) error {
	for i, name := range levelNames {
		if string(b) == name {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("%.20q is no level; there are %s", b, strings.Join(levelNames[1:], ", "))
}

// How far into a line it is looked for what isn't in a field.
const maxPlain = 160

// recognise finds the level that a line says it has: a field of a JSON object or of logfmt, glog's first letter, or a word at its begin. It is
// what the service says, and no more than that.
func recognise(line string) Level {
	s := strings.TrimLeft(line, " \t")
	if strings.HasPrefix(s, "{") {
		out := Unknown
		eachField(s, func(key, value string) bool {
			switch key {
			case "level", "severity", "lvl", "levelname", "log.level", "severity_text", "severityText":
				out = levelOf(value)
			}
			return out == Unknown
		})
		return out
	}
	for _, key := range [...]string{"level=", "lvl=", "severity="} {
		if v := logfmt(s, key); v != "" {
			return levelOf(v)
		}
	}
	if len(s) > 6 && strings.IndexByte("IWEF", s[0]) >= 0 && isDigits(s[1:5]) && s[5] == ' ' {
		return levelOf(s[:1])
	}
	return plainLevel(s[:min(len(s), maxPlain)])
}

// levelOf reads a level as libraries write it: words, syslog's names, and the numbers of pino and bunyan.
func levelOf(s string) Level {
	if len(s) > 13 {
		return Unknown
	}
	var b [13]byte
	switch string(fold(b[:0], []byte(s))) {
	case "trace", "trc", "debug", "dbg", "verbose", "fine", "10", "20":
		return Debug
	case "i", "info", "inf", "information", "notice", "30":
		return Info
	case "w", "warn", "warning", "wrn", "40":
		return Warn
	case "e", "error", "err", "severe", "50":
		return Error
	case "f", "fatal", "ftl", "critical", "crit", "panic", "alert", "emerg", "emergency", "dpanic", "60":
		return Fatal
	}
	return Unknown
}

// plainLevel looks for a word in capitals, one in brackets, or one at the begin with a colon behind it.
func plainLevel(s string) Level {
	for i := 0; i < len(s); {
		if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '[' { // colours
			for i += 2; i < len(s) && (s[i] < '@' || s[i] > '~'); i++ {
			}
			i++
			continue
		}
		class, _ := classOf(s[i])
		if class == other {
			i++
			continue
		}
		start := i
		for i < len(s) {
			if class, _ := classOf(s[i]); class == other {
				break
			}
			i++
		}
		word := s[start:i]
		bracketed := start > 0 && i < len(s) && (s[start-1] == '[' && s[i] == ']' || s[start-1] == '<' && s[i] == '>')
		begins := start == 0 && i < len(s) && s[i] == ':'
		if len(word) >= 3 && (bracketed || begins || word == strings.ToUpper(word)) && (word[0] < '0' || word[0] > '9') {
			if l := levelOf(word); l != Unknown {
				return l
			}
		}
	}
	switch {
	case strings.HasPrefix(s, "Traceback (most recent call last)"), strings.HasPrefix(s, "Uncaught "), strings.HasPrefix(s, "Exception in thread "):
		return Error
	}
	return Unknown
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// logfmt is the value of a field key=value, without quotes, or "".
func logfmt(s, key string) string {
	for from := 0; ; {
		i := strings.Index(s[from:], key)
		if i < 0 {
			return ""
		}
		i += from
		from = i + len(key)
		if i > 0 && s[i-1] != ' ' && s[i-1] != '\t' {
			continue
		}
		v := strings.TrimPrefix(s[from:], `"`)
		if end := strings.IndexAny(v, "\" \t"); end >= 0 {
			v = v[:end]
		}
		return v
	}
}

// traceOf finds the ID of the trace that a line says it belongs to, as 32 digits, or "".
func traceOf(line string) string {
	s := strings.TrimLeft(line, " \t")
	out := ""
	if strings.HasPrefix(s, "{") {
		eachField(s, func(key, value string) bool {
			switch key {
			case "trace_id", "traceId", "traceID", "trace.id", "trace", "traceparent", "traceid":
				out = traceIn(value)
			}
			return out == ""
		})
		return out
	}
	for _, key := range [...]string{"trace_id=", "traceId=", "traceID=", "traceparent=", "trace="} {
		if out = traceIn(logfmt(s, key)); out != "" {
			return out
		}
	}
	return ""
}

// traceIn reads a trace's ID, alone or in a traceparent (W3C Trace Context §3.2).
func traceIn(v string) string {
	if len(v) == 55 && v[2] == '-' && v[35] == '-' {
		v = v[3:35]
	}
	v = strings.ToLower(v)
	if b, err := hex.DecodeString(v); err != nil || len(b) != 16 || bytes.Count(b, []byte{0}) == 16 {
		return ""
	}
	return v
}

// eachField calls f with the fields of a JSON object, not those of objects in it, until f returns false or the line is no JSON. Values of strings
// are without quotes, and as they are written; of objects and lists they are empty.
func eachField(s string, f func(key, value string) bool) {
	i, depth := 0, 0
	key, isValue := "", false
	for i < len(s) {
		switch c := s[i]; c {
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',':
			isValue = isValue && depth > 1
			i++
		case ':':
			isValue = depth == 1 || isValue
			i++
		case ' ', '\t':
			i++
		default:
			end := token(s, i)
			if end < 0 {
				return
			}
			text := strings.Trim(s[i:end], `"`)
			i = end
			if depth != 1 {
				continue
			}
			if !isValue {
				key = text
			} else if !f(key, text) {
				return
			}
		}
		if depth <= 0 {
			return
		}
	}
}

// token is where a string or a bare word ends, or -1.
func token(s string, i int) int {
	if s[i] != '"' {
		n := strings.IndexAny(s[i:], ",]}: \t")
		if n < 0 {
			return len(s)
		}
		return i + max(n, 1)
	}
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
