-- What a person let a client do. It ends with the session, and all that came from it ends with it.
CREATE TABLE grant_given (
	id TEXT PRIMARY KEY,
	client TEXT NOT NULL,
	person TEXT NOT NULL,
	session TEXT NOT NULL,
	data TEXT NOT NULL,
	ended BOOLEAN NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_given_session ON grant_given (session);
CREATE INDEX grant_given_expires ON grant_given (expires);

-- Authorization codes. grant_id is what a code was exchanged for; a used code stays, so that a replay is noticed.
CREATE TABLE grant_code (
	hash TEXT PRIMARY KEY,
	data TEXT NOT NULL,
	grant_id TEXT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_code_expires ON grant_code (expires);

-- Refresh tokens. A used one (used_at > 0) keeps its successor, sealed, for a client that didn't get the answer.
CREATE TABLE grant_refresh (
	hash TEXT PRIMARY KEY,
	grant_id TEXT NOT NULL,
	used_at BIGINT NOT NULL,
	next_sealed BYTEA,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_refresh_expires ON grant_refresh (expires);
CREATE INDEX grant_refresh_grant ON grant_refresh (grant_id);

-- Access tokens of grants.
CREATE TABLE grant_token (
	jti TEXT PRIMARY KEY,
	grant_id TEXT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_token_grant ON grant_token (grant_id);
CREATE INDEX grant_token_expires ON grant_token (expires);

-- Tokens and sessions that ended before their time.
CREATE TABLE grant_ended (
	id TEXT PRIMARY KEY,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_ended_expires ON grant_ended (expires);

-- What may be shown once only: jti of client assertions and of DPoP proofs.
CREATE TABLE grant_seen (
	id TEXT PRIMARY KEY,
	expires BIGINT NOT NULL
);
CREATE INDEX grant_seen_expires ON grant_seen (expires);

-- What a person isn't asked again.
CREATE TABLE grant_consent (
	person TEXT NOT NULL,
	client TEXT NOT NULL,
	scopes TEXT NOT NULL,
	PRIMARY KEY (person, client)
);
