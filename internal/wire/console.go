package wire

// ConsoleAsk asks for a link into the console (the administrator only).
type ConsoleAsk struct {
	By   string `json:"by"`   // who it is for
	Role string `json:"role"` // viewer, operator or administrator
}

// ConsoleLink lets one person in once.
type ConsoleLink struct {
	Path    string `json:"path"` // below wherever the console is served
	Seconds int    `json:"seconds"`
}

// ConsolePath is where control's administrative API has the console.
const ConsolePath = "/console"

// ConsoleEvents is where the console's pages hear what is new, and LiveField marks what they ask for by themselves: neither is a use by somebody.
const (
	ConsoleEvents = "/events"
	LiveField     = "X-Ward-Live"
)

// SignOutPath is where a page at one of the gateway's hosts ends its person's session (POST).
const SignOutPath = "/.ward/sign-out"

// SessionCookie is the gateway's cookie of who signed in; __Host- binds it to the one origin (RFC 6265bis §4.1.3.2).
const SessionCookie = "__Host-ward"
