-- Signing keys. They sign from signs_at until the next key of their algorithm does, and are published until gone_at.
CREATE TABLE keyring_key (
	id TEXT PRIMARY KEY,
	alg TEXT NOT NULL,
	sealed BYTEA NOT NULL,
	signs_at BIGINT NOT NULL,
	ends_at BIGINT NOT NULL,
	gone_at BIGINT NOT NULL
);
CREATE INDEX keyring_key_alg ON keyring_key (alg, signs_at);
