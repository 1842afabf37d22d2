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
	Right    string           // what to do if it is meant to be so, with what is to be typed in backticks; "" for nothing
}

// Checked are the rules of what lasts, which is looked at now and then: silence and what else no event tells of.
func Checked() []string {
	return []string{"silence", "clock-skew", "disk-budget", "error-budget", "expiring"}
}

// Rules are all rules, in the order of vocabulary.WatchRules.
func Rules() []Rule {
	return []Rule{
		{"undeclared-routes", finding.Medium, Block, "", "A search for routes", "People follow links, and links lead to routes that ward.yaml declares. Who asks for many that it doesn't, guesses.", "Declare the route under `expose:`, or put the network under `watch: never_block:`."},
		{"honey-path", finding.High, Block, "", "A search for holes", "Only a scanner asks for files that give secrets away, or for the administration of products that this application hasn't.", "Declare it, if it is yours."},
		{"payload", finding.High, Block, "", "Attempts to inject", "The requests hold what an attacker writes to make a database, a shell, a template or a browser do something.", "Where people search for code, `watch: rules: {payload: observe}` leaves the finding and blocks nobody."},
		{"malformed", finding.Medium, Block, "", "Requests that can't be read", "Browsers and HTTP libraries send none. Who sends many looks for a server that reads them differently.", "Have the client speak HTTPS; or `never_block:`."},
		{"slow-requests", finding.Medium, Block, "", "Connections that are kept waiting", "One client holds many connections open without finishing a request, which uses up a server that allows it.", "`never_block:` for a proxy of your own in front."},
		{"failed-sign-ins", finding.Medium, Block, "", "Guessed passwords", "Many sign-ins of one account or from one network have failed.", "`users: flags: brute-force` says what is done, and from when on."},
		{"password-spraying", finding.High, "", "", "One password, many accounts", "Somebody tries the same password on many accounts, or many accounts from everywhere, so that none is tried often.", "`users: flags: password-spraying` and `credential-stuffing` say what is done."},
		{"factor-fatigue", finding.High, "", EndSessions, "Second factors asked for again and again", "Somebody who has a right password asks for codes until a person gives one away.", "`users: flags: factor-fatigue` says what is done."},
		{"factors-removed", finding.Medium, "", EndSessions, "Second factors taken away", "Who has taken over an account takes its factors away first.", "`users: flags: factors-removed` says what is done."},
		{"new-device", finding.Low, "", EndSessions, "A sign-in from somewhere new", "The device, the network or the country is new for this person, or the distance to the last one can't be travelled.", "`users: flags: new-device` and `impossible-travel` say what is done."},
		{"replay", finding.High, "", EndSessions, "A token or code used twice", "Refresh tokens, codes, proofs and passkeys' counters are used once. A second use means that somebody has a copy.", "Mend the client; the finding names it."},
		{"token-misused", finding.High, "", Quarantine, "A user's token in the wrong hands", "A service used a transaction token that was made for another call, or another service.", "Pass the token on only in the same request (`docs/verify-user.md`)."},
		{"denied-call", finding.Medium, "", Quarantine, "A call that nobody declared", "Services call what their code says. A call that ward.yaml doesn't allow is new code that wasn't declared, or somebody else's code.", "`ward findings allow ID` shows the change of `calls:`."},
		{"undeclared-host", finding.High, "", Quarantine, "A way out that nobody declared", "The service asked for another host than the external that it may reach.", "Add the other host as an external of its own."},
		{"direct-connect", finding.High, "", Quarantine, "A connection past Ward", "A program in the sandbox tried to reach an address directly. No line of ward.yaml leads there, and nothing did.", "Declare the target as an external or a service."},
		{"undeclared-name", finding.Medium, "", Quarantine, "A name that nobody declared", "A program in the sandbox looked up a host that ward.yaml doesn't name.", "Declare the external, and grant the call."},
		{"egress-volume", finding.Medium, "", Quarantine, "Much more leaves than usual", "A service sends several times as much to an external as it ever did.", "It becomes habit by itself; silence it with an end."},
		{"canary", finding.Critical, Quarantine, "", "A trap was touched", "The canary has no use. Whoever uses it has found what nobody shows.", "Nobody but an intruder has a use for it: find out who could read it, and change the secrets beside it. Lift the answer then (`ward answers lift`). `watch: canaries: off` lays no traps."},
		{"undeclared-secret", finding.High, "", Quarantine, "A key that is another's", "A service asked for a key that ward.yaml doesn't give it. Who has taken a service over looks for what else it can read.", "Give it the class of data (`data:`), or the key alone (`keys:`)."},
		{"secret-habit", finding.Medium, "", Quarantine, "Secrets or keys far above habit", "A service reads a secret or uses a key many times as often as it ever did.", "It becomes habit by itself."},
		{"undeclared-program", finding.High, "", Quarantine, "A program that isn't the service's", "A program runs in the sandbox that the service isn't started with: from a folder that it can write, from memory, or a shell.", "Name the program in `run:`; the `runtime:` decides what else may run. If nobody meant it to run, somebody else's code does: cut the service off (`ward answers quarantine`), and look at how it came in."},
		{"denied-write", finding.Medium, "", Quarantine, "A write where nothing may be written", "A program in the sandbox wanted to make, change or remove a file that the service may only read. Who has broken in changes programs and pages.", "Let it be written: `files: {write: [PATH]}`, as narrow as can be."},
		{"new-listener", finding.Medium, "", Quarantine, "A port that nobody declared", "A program in the sandbox listens on a port that isn't among the service's listen:.", "Declare it under `listen:`."},
		{"unknown-agent", finding.High, "", Quarantine, "A peer that isn't of the plan", "Somebody with a certificate of this trust domain, or a name in it, isn't among the services of the plan.", "Put the service back into ward.yaml."},
		{"unusual-administration", finding.Medium, "", EndSessions, "Administration from somewhere new", "An administrator acted from a network that they haven't used in the last 30 days.", "Close the finding: the network is known from then on."},
		{"ledger-gap", finding.High, "", "", "Records are missing", "Events were lost before they reached the audit trail, its end was torn, or it was changed.", "Find out why the disk or control was away. Where it was changed, keep the folder as evidence (`ward audit verify`)."},
		{"clock-skew", finding.Medium, "", "", "Clocks disagree", "Tokens and certificates end by the clock. A process' clock is off by more than ten seconds.", "Run NTP on its host."},
		{"error-budget", finding.High, "", "", "A promise is being broken", "At this rate the month's budget of failed or slow requests is used up early.", "Promise what can be kept: `watch: slo:`."},
		{"slower", finding.Medium, "", "", "Slower after a change", "99 of 100 requests took much longer in the half hour after the service was started anew than before.", ""},
		{"disk-budget", finding.High, "", "", "The disk is filling up", "Ward's state needs room: when the disk is full, administration stops and records are lost.", "Make room; `watch: ledger: budget:`."},
		{"expiring", finding.High, "", "", "Something ends soon", "A certificate or secret ends soon, and hasn't been renewed.", "Renew it: `ward secrets set`, or the certificate's files."},
		{"bypass", finding.High, "", Quarantine, "An attempt to leave the sandbox", "A program in the sandbox asked the kernel for what leads out of it, or past Ward, and what no ordinary program asks for.", "Nothing allows it. Silence the finding, with a reason and an end: `ward findings silence ID`."},
		{"silence", finding.High, "", "", "A part of Ward is silent", "Gateway and agents report every five seconds. What a silent one lets pass, nobody sees.", "Look at `ward status` and the log."},
		{"leak", finding.High, "", "", "A secret where none belongs", "A secret, a token or a card number was in a log or in an answer. It was masked; who printed it should stop, and the secret be changed.", "Change the secret, and what prints it."},
		{"crash-loop", finding.Medium, "", "", "A service that ends again and again", "It was started anew three times in ten minutes.", ""},
	}
}
