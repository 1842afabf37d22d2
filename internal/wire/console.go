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
