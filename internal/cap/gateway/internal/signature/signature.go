// Package signature tells requests that look like attempts to inject something, or like a search for holes, by their first line alone.
//
// Guarantee: a request whose path and query hold only letters, digits and the usual punctuation costs one look at each byte;
// nothing is remembered, and patterns are of RE2, so that no text takes more than linear time. Not guaranteed: that a match
// is an attack, or an attack a match: it is one sign among several, and nothing is refused for it alone.
package signature

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Class is what a request would inject; "" for none.
type Class string

// The classes.
const (
	SQL       Class = "SQL"
	Script    Class = "script"
	Traversal Class = "path traversal"
	Command   Class = "command"
	Template  Class = "template"
	Include   Class = "file or URL inclusion"
)

// maxText is how much of a request's target is looked at.
const maxText = 4 << 10

// Of is the class of a request's target (path and query as they were sent) and of what it says of itself (User-Agent, Referer).
func Of(target string, said ...string) Class {
	if c := match(target); c != "" {
		return c
	}
	for _, s := range said {
		if strings.Contains(s, "${") || strings.Contains(s, "() {") {
			if c := match(s); c != "" {
				return c
			}
		}
	}
	return ""
}

func match(text string) Class {
	if len(text) > maxText {
		text = text[:maxText]
	}
	if !odd(text) {
		return ""
	}
	text = plain(text)
	all := patterns()
	for i := range all {
		if all[i].matches(text) {
			return all[i].class
		}
	}
	return ""
}

// odd tells whether a text has what an injection can't do without.
func odd(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case '%', '\'', '"', '<', '>', '(', '`', '|', ';', '{', '\\', '+':
			return true
		case '.':
			if i+2 < len(s) && s[i+1] == '.' && (s[i+2] == '/' || s[i+2] == '%') {
				return true
			}
		case '/':
			if strings.HasPrefix(s[i:], "/etc/") || strings.HasPrefix(s[i:], "/proc/") || i > 0 && s[i-1] == '/' {
				return true
			}
		}
	}
	return false
}

// plain is a text as an application may come to see it: unescaped twice, in lower case, with comments and runs of spaces as one space.
func plain(s string) string {
	for range 2 {
		if !strings.ContainsAny(s, "%+") {
			break
		}
		s = unescape(s)
	}
	s = strings.ToLower(s)
	for strings.Contains(s, "/*") {
		before, rest, _ := strings.Cut(s, "/*")
		_, after, closed := strings.Cut(rest, "*/")
		if !closed {
			s = before + " "
			break
		}
		s = before + " " + after
	}
	return strings.Join(strings.Fields(s), " ")
}

// unescape is url.QueryUnescape that leaves what is no escape.
func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if t, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(t)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

type pattern struct {
	class Class
	words []string
	re    *regexp.Regexp
}

func (p *pattern) matches(text string) bool {
	return slices.ContainsFunc(p.words, func(w string) bool { return strings.Contains(text, w) }) && p.re.MatchString(text)
}

// patterns are compiled with the first odd request. A pattern is only tried on a text that holds one of its words, which costs far less.
var patterns = sync.OnceValue(func() []pattern {
	all := []struct {
		class Class
		words string
		re    string
	}{
		{SQL, "' \" )", `['")]\s?\)* ?(or|and|xor|rlike|like)\b.{0,40}?(=|<|>|\blike\b|select|sleep\(|\b\d+\b)`},
		{SQL, "and or", `\d\)* ?(or|and|xor|rlike)\b.{0,40}?(=|<|>|\blike ['"]|select|sleep\()`},
		{SQL, "select information_schema order", `\bunion\b.{0,20}\bselect\b|\bselect\b.{1,100}\bfrom\b.{1,100}|information_schema|\border by \d+ ?(--|#)`},
		{SQL, "sleep( benchmark( extractvalue( updatexml( load_file( randomblob( dbms_ ctxsys utl_ char( chr( waitfor xp_", `\b(sleep|benchmark|pg_sleep|extractvalue|updatexml|load_file|randomblob|dbms_pipe\.receive_message|ctxsys\.drithsx\.sn|utl_inaddr\.[a-z_]+|char|chr)\(\s?[0-9'"x(]|waitfor delay|xp_cmdshell`},
		{SQL, "-- # ;", `['")] ?(--|#|;)|; ?(drop|insert|update|delete|alter|create|exec|shutdown|declare)\b`},
		{SQL, "procedure having || case", `\bprocedure analyse\(|\bhaving \d+ ?[=<>] ?\d+|['"] ?\|\| ?['"(]|\(select \(?case\b|\bcase when\b.{0,60}\bthen\b`},
		{Script, "< javascript: alert( document. onerror onload onclick onfocus onmouse ontoggle", `<(script|svg|img|iframe|body|object|embed|video|details|math|style|a|input|isindex|marquee)[ />].{0,200}?(on[a-z]{3,20} ?=|>|src ?=)|javascript:|\bon(error|load|click|mouseover|focus|toggle) ?=|\balert\(|document\.cookie`},
		{Traversal, "../ ..\\ /etc/ /proc/ .ini \x00", `(\.\.[/\\]){2}|/etc/(passwd|shadow|hosts|group|services)|/proc/(self|version|\d+)|boot\.ini|win\.ini|\.\.[/\\].{0,40}(web-inf|web\.config|\.env|id_rsa)|\x00`},
		{Command, "; | & ` $( /bin/ {:", "(^|[;|&`\n]|\\$\\() ?((cat|ls|whoami|uname|sleep|ping|curl|wget|nc|bash|sh|powershell|cmd|nslookup)([^=a-z0-9_-]|$)|(id|type|dir|echo|env|printenv|expr)[ ;`)&])|/bin/(ba|da|z)?sh\\b|\\(\\) ?\\{ ?:"},
		{Template, "${ {{ <% #{", `\$\{(jndi|env|sys|java|ctx|\d+ ?[*+-])|\{\{.{0,100}?([*+]|\.|\(|config|self|request).{0,100}?\}\}|<%.{0,100}%>|#\{\d+ ?\*|\$\{.{0,60}(runtime|getclass|processbuilder)`},
		{Include, ":// data:text 169.254 allow_url base64_ <? <!", `\b(php|phar|expect|zip|data|gopher|dict|file|ldap|netdoc|jar)://|data:text/|=https?://\d+\.\d+\.\d+\.\d+|169\.254\.169\.254|allow_url_include|base64_decode\(|<\?(php|=)|<!(entity|doctype)`},
	}
	out := make([]pattern, len(all))
	for i, p := range all {
		out[i] = pattern{p.class, strings.Fields(p.words), regexp.MustCompile(p.re)}
	}
	return out
})

// Tool is the scanner that a User-Agent names, "" for none. Who hides leaves it out.
func Tool(agent string) string {
	if agent == "" {
		return ""
	}
	agent = strings.ToLower(agent)
	for _, t := range [...]string{
		"sqlmap", "nikto", "gobuster", "fuzz faster u fool", "feroxbuster", "dirbuster", "dirb", "wapiti", "nmap scripting engine", "hydra", "masscan", "zgrab",
		"nuclei", "wpscan", "arachni", "acunetix", "netsparker", "openvas", "whatweb", "wfuzz", "slowhttptest", "commix", "xsstrike", "zmeu", "jaeles", "zaproxy",
	} {
		if strings.Contains(agent, t) {
			if t == "fuzz faster u fool" {
				return "ffuf"
			}
			return t
		}
	}
	return ""
}

// Honey tells whether a path is one that only who looks for holes asks for: files that give secrets away, and the administration of
// products that scanners try everywhere.
func Honey(path string) bool {
	p := strings.ToLower(path)
	for _, s := range [...]string{"/.env", "/.git/", "/.svn/", "/.hg/", "/.aws/", "/.ssh/", "/.htpasswd", "/.ds_store", "/.vscode/", "/wp-login", "/wp-admin", "/wp-config", "/wp-content/", "/wp-includes/", "/xmlrpc.php", "/phpmyadmin", "/pma/", "/adminer", "/cgi-bin/", "/server-status", "/actuator/", "/boaform/", "/hnap1", "/solr/", "/jenkins/", "/manager/html", "/struts", "/owa/auth", "/autodiscover/", "/_ignition/", "/telescope/", "/vendor/phpunit", "/etc/passwd", "/id_rsa", "/web.config", "/web-inf/"} {
		if strings.HasPrefix(p, s) {
			return true
		}
	}
	name := p[strings.LastIndexByte(p, '/')+1:]
	switch name {
	case "config.php", "phpinfo.php", "info.php", "shell.php", "cmd.php", "c99.php", "r57.php", "backup.sql", "dump.sql", "database.sql", "db.sql", "backup.zip", "backup.tar.gz", "credentials.json", "secrets.yml", "secrets.yaml", "docker-compose.yml", "id_rsa", "id_ed25519", ".bash_history", ".npmrc", ".pypirc":
		return true
	}
	return strings.HasPrefix(name, ".env.") || strings.HasSuffix(name, ".php.bak")
}

// Usual tells whether browsers and crawlers ask for a path by themselves, whether or not the application has it.
func Usual(path string) bool {
	switch path {
	case "/favicon.ico", "/favicon.svg", "/favicon.png", "/robots.txt", "/sitemap.xml", "/sitemap_index.xml", "/sitemap.txt", "/humans.txt", "/ads.txt", "/app-ads.txt", "/security.txt", "/llms.txt",
		"/browserconfig.xml", "/manifest.json", "/manifest.webmanifest", "/site.webmanifest", "/opensearch.xml", "/sw.js", "/service-worker.js", "/crossdomain.xml", "/feed", "/rss", "/rss.xml", "/atom.xml", "/index.html", "/":
		return true
	}
	return strings.HasPrefix(path, "/apple-touch-icon") || strings.HasPrefix(path, "/.well-known/") || strings.HasPrefix(path, "/favicon-") || strings.HasPrefix(path, "/android-chrome-") || strings.HasSuffix(path, ".map")
}
