-- What has ended before its time: sessions and tokens, until nothing of them could still be valid.
CREATE TABLE told_ended (
	id TEXT PRIMARY KEY,
	until BIGINT NOT NULL
);
CREATE INDEX told_ended_until ON told_ended (until);

-- Public keys of gateways' transaction tokens.
CREATE TABLE told_key (
	kid TEXT PRIMARY KEY,
	jwk TEXT NOT NULL,
	made BIGINT NOT NULL
);
