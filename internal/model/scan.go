package model

// Scan is what `ward scan` makes of what it finds.
type Scan struct {
	Fail       string   `json:",omitempty"` // the lowest rating that fails: "low" to "critical", or "never"; "" is high
	Refuse     bool     `json:",omitempty"` // a service with a hole that is known to be exploited isn't started
	MaxAgeDays int      `json:",omitempty"` // how old the advisories may be; 0 is a week
	Skip       []string `json:",omitempty"` // folders and files that aren't looked at, relative to the folder of ward.yaml
	Ignore     []Ignore `json:",omitempty"`
}

// Ignore is a finding that somebody answers for, until a day.
type Ignore struct {
	Pos     Pos
	ID      string // of the advisory (any of its names) or rule
	Package string `json:",omitempty"` // only in this part
	Path    string `json:",omitempty"` // only in this file, or below this folder
	Reason  string
	Until   string // YYYY-MM-DD, the last day
	VEX     string `json:",omitempty"` // OpenVEX's justification, where one of them is the reason
}

// Update is how `ward update` proposes newer parts.
type Update struct {
	WaitDays int      `json:",omitempty"` // how long a release must have been seen before it is taken; 0 is three days
	Limit    int      `json:",omitempty"` // of open proposals; 0 is five
	Merge    string   `json:",omitempty"` // what may be merged without a person: "patch", "minor" or "" for nothing
	Forge    string   `json:",omitempty"` // "github" or "gitlab"; "" for branches alone
	Ignore   []Ignore `json:",omitempty"` // of parts, whatever advisory
}
