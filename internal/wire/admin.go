package wire

import "encoding/json"

// FirstAdmin is the one-time link to make the first administrator; "" when there is one.
type FirstAdmin struct {
	Link string `json:"link"`
}

// OAuthClient is a client in the administrators' lists.
type OAuthClient struct {
	Name      string   `json:"name"`
	Title     string   `json:"title,omitempty"`
	From      string   `json:"from,omitempty"` // "ward.yaml" or "added"
	Shadowed  bool     `json:"shadowed,omitempty"`
	Public    bool     `json:"public,omitempty"`
	Service   string   `json:"service,omitempty"`
	Redirects []string `json:"redirects,omitempty"`
	Grants    []string `json:"grants,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	Audiences []string `json:"audiences,omitempty"`
	Secret    string   `json:"secret,omitempty"` // of one that was just added, this once
}

// TokenQuery asks what a token says.
type TokenQuery struct {
	Token string `json:"token"`
}

// TokenSays is what a token says, and whether it counts.
type TokenSays struct {
	Type   string          `json:"type"`
	Alg    string          `json:"alg"`
	KeyID  string          `json:"key_id"`
	Signed string          `json:"signed,omitempty"` // by whom; "" for nobody here
	Over   bool            `json:"over"`             // its time has passed
	Ended  bool            `json:"ended"`            // it, or its session, was ended before
	Claims json.RawMessage `json:"claims"`           // as it says; only what is signed may be believed
}
