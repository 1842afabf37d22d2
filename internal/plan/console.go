package plan

import "github.com/wardhq/ward/internal/model"

// The console as a target of rules, and where it asks for a fresh second factor. It can't be a service's name.
const (
	ConsoleTarget = "CONSOLE"
	ConsoleProve  = "/prove"
)

// How long ago a second factor may have been shown: to come in, and for the strong acts; in seconds.
const (
	ConsoleFactor      = 12 * 3600
	ConsoleFreshFactor = 15 * 60
)

// Console is a plan of its own, in which the console is the one service and open to who may use it: by it the gateway decides about requests to
// the console's host as it does about all others. Where p has no console behind the gateway, nothing is open.
func (p *Plan) Console() *Plan {
	m := model.Model{App: p.App, TrustDomain: p.TrustDomain, Gateway: p.Gateway, Users: p.Users}
	if c := &p.Watch.Console; c.On() && p.Users.On() {
		open := func(factor int, method, pattern string) model.Expose {
			return model.Expose{Pos: c.Pos, To: "the console's people", Need: model.Need{Who: c.Who(), MFA: factor}, Routes: []model.Grant{
				{Pos: c.Pos, Kind: model.GrantHTTP, Methods: []string{method}, Pattern: pattern},
			}}
		}
		m.Services = []model.Service{{
			Pos: c.Pos, Name: ConsoleTarget, Listen: []model.Listen{{Protocol: model.HTTP, Port: 80}},
			Expose: []model.Expose{open(ConsoleFreshFactor, "GET", ConsoleProve), open(ConsoleFactor, "GET", "/**"), open(ConsoleFactor, "POST", "/**")},
		}}
	}
	return Build(&m)
}
