package vocabulary

// The words of each choice follow. Where the model has an enum for it, index is value.

// Protocols: of listeners and externals.
func Protocols() []string { return []string{"unknown", "http", "h2c", "grpc", "tcp"} }

// GrantKinds: of grants.
func GrantKinds() []string { return []string{"none", "any", "http", "ws", "grpc", "tcp"} }

// Runtimes: of sandboxes.
func Runtimes() []string { return []string{"static", "go", "node", "python", "jvm"} }

// Sensitivities: how bad it is to lose a service, ascending.
func Sensitivities() []string { return []string{"unset", "low", "medium", "high", "critical"} }

// ReadyKinds: of ready probes.
func ReadyKinds() []string { return []string{"default", "none", "tcp", "http"} }

// Restarts: restart policies.
func Restarts() []string { return []string{"always", "on-failure", "never"} }

// Forwards: what may pass the gateway.
func Forwards() []string { return []string{"cookies", "authorization"} }

// Registers: who may make an account.
func Registers() []string { return []string{"closed", "open"} }

// Factors: whether a second factor is needed.
func Factors() []string { return []string{"required", "optional"} }

// ClientGrants: OAuth grants.
func ClientGrants() []string {
	return []string{"authorization_code", "refresh_token", "client_credentials", "device_code", "token_exchange"}
}

// Flags: red flags of sign-in.
func Flags() []string {
	return []string{
		"brute-force", "credential-stuffing", "password-spraying", "refresh-reuse", "passkey-clone", "factor-fatigue",
		"impossible-travel", "new-device", "session-moved", "factors-removed", "enumeration",
	}
}

// Responses: to a red flag.
func Responses() []string {
	return []string{"record", "slow", "step-up", "block", "end-sessions", "mail"}
}

// ExternalTLS: who speaks TLS to an external.
func ExternalTLS() []string { return []string{"none", "passthrough", "originate"} }

// Purposes: of keys.
func Purposes() []string {
	return []string{"encrypt", "lookup", "mac", "ES256", "EdDSA", "RS256"}
}

// KeyUses: what a service may do with a key.
func KeyUses() []string {
	return []string{"encrypt", "decrypt", "lookup", "mac", "sign", "verify"}
}
