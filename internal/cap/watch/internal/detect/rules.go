package detect

import "github.com/wardhq/ward/internal/finding"

// Answer is what is done about a finding; "" for nothing but to say it.
type Answer string

// The answers, each with an end, and undone from the finding.
const (
	Slow        Answer = "slow"         // a client gets one request a second
	Block       Answer = "block"        // a client gets none
	EndSessions Answer = "end-sessions" // of a person; identity does it
	Quarantine  Answer = "quarantine"   // a service calls nobody, and nobody calls it
)

// Rule is one thing that Ward looks for.
type Rule struct {
	Name     string
	Severity finding.Severity // unless what happened says otherwise
	Answer   Answer           // that is given by itself, where the rule protects
	Offer    Answer           // that a person may give
	Title    string           // what it is, in a few words
	Why      string           // why that is unusual, in a sentence or two
}

// Rules are all rules, in the order of vocabulary.WatchRules.
func Rules() []Rule {
	return []Rule{
		{"undeclared-routes", finding.Medium, Block, "", "A search for routes", "People follow links, and links lead to routes that ward.yaml declares. Who asks for many that it doesn't, guesses."},
		{"honey-path", finding.High, Block, "", "A search for holes", "Only a scanner asks for files that give secrets away, or for the administration of products that this application hasn't."},
		{"payload", finding.High, Block, "", "Attempts to inject", "The requests hold what an attacker writes to make a database, a shell, a template or a browser do something."},
		{"malformed", finding.Medium, Block, "", "Requests that can't be read", "Browsers and HTTP libraries send none. Who sends many looks for a server that reads them differently."},
		{"slow-requests", finding.Medium, Block, "", "Connections that are kept waiting", "One client holds many connections open without finishing a request, which uses up a server that allows it."},
		{"failed-sign-ins", finding.Medium, Block, "", "Guessed passwords", "Many sign-ins of one account or from one network have failed."},
		{"password-spraying", finding.High, "", "", "One password, many accounts", "Somebody tries the same password on many accounts, or many accounts from everywhere, so that none is tried often."},
		{"factor-fatigue", finding.High, "", EndSessions, "Second factors asked for again and again", "Somebody who has a right password asks for codes until a person gives one away."},
		{"factors-removed", finding.Medium, "", EndSessions, "Second factors taken away", "Who has taken over an account takes its factors away first."},
		{"new-device", finding.Low, "", EndSessions, "A sign-in from somewhere new", "The device, the network or the country is new for this person, or the distance to the last one can't be travelled."},
		{"replay", finding.High, "", EndSessions, "A token or code used twice", "Refresh tokens, codes, proofs and passkeys' counters are used once. A second use means that somebody has a copy."},
		{"token-misused", finding.High, "", Quarantine, "A user's token in the wrong hands", "A service used a transaction token that was made for another call, or another service."},
		{"denied-call", finding.Medium, "", Quarantine, "A call that nobody declared", "Services call what their code says. A call that ward.yaml doesn't allow is new code that wasn't declared, or somebody else's code."},
		{"undeclared-host", finding.High, "", Quarantine, "A way out that nobody declared", "The service asked for another host than the external that it may reach."},
		{"direct-connect", finding.High, "", Quarantine, "A connection past Ward", "A program in the sandbox tried to reach an address directly. No line of ward.yaml leads there, and nothing did."},
		{"undeclared-name", finding.Medium, "", Quarantine, "A name that nobody declared", "A program in the sandbox looked up a host that ward.yaml doesn't name."},
		{"egress-volume", finding.Medium, "", Quarantine, "Much more leaves than usual", "A service sends several times as much to an external as it ever did."},
		{"canary", finding.Critical, Quarantine, "", "A trap was touched", "The canary has no use. Whoever uses it has found what nobody shows."},
		{"secret-habit", finding.Medium, "", Quarantine, "Secrets or keys far above habit", "A service reads a secret or uses a key many times as often as it ever did."},
		{"undeclared-program", finding.High, "", Quarantine, "A program that isn't the service's", "A program runs in the sandbox that the service isn't started with: from a folder that it can write, from memory, or a shell."},
		{"new-listener", finding.Medium, "", Quarantine, "A port that nobody declared", "A program in the sandbox listens on a port that isn't among the service's listen:."},
		{"unknown-agent", finding.High, "", Quarantine, "A peer that isn't of the plan", "Somebody with a certificate of this trust domain, or a name in it, isn't among the services of the plan."},
		{"unusual-administration", finding.Medium, "", EndSessions, "Administration from somewhere new", "An administrator acted from a network that they haven't used in the last 30 days."},
		{"ledger-gap", finding.High, "", "", "Records are missing", "Events were lost before they reached the audit trail, its end was torn, or it was changed."},
		{"clock-skew", finding.Medium, "", "", "Clocks disagree", "Tokens and certificates end by the clock. A process' clock is off by more than ten seconds."},
		{"error-budget", finding.High, "", "", "A promise is being broken", "At this rate the month's budget of failed or slow requests is used up early."},
		{"slower", finding.Medium, "", "", "Slower after a change", "99 of 100 requests took much longer in the half hour after the service was started anew than before."},
		{"disk-budget", finding.High, "", "", "The disk is filling up", "Ward's state needs room: when the disk is full, administration stops and records are lost."},
		{"expiring", finding.High, "", "", "Something ends soon", "A certificate or secret ends soon, and hasn't been renewed."},
		{"bypass", finding.High, "", Quarantine, "An attempt to leave the sandbox", "A program in the sandbox asked the kernel for what leads out of it, or past Ward, and what no ordinary program asks for."},
		{"silence", finding.High, "", "", "A part of Ward is silent", "Gateway and agents report every five seconds. What a silent one lets pass, nobody sees."},
		{"leak", finding.High, "", "", "A secret where none belongs", "A secret, a token or a card number was in a log or in an answer. It was masked; who printed it should stop, and the secret be changed."},
		{"crash-loop", finding.Medium, "", "", "A service that ends again and again", "It was started anew three times in ten minutes."},
	}
}
