-- What the values are sealed with, itself sealed, and the digest of the definitions in force.
CREATE TABLE values_meta (
	id TEXT PRIMARY KEY,
	content BYTEA NOT NULL
);
-- Secrets. Versions count from 1 and are never given twice; 0 is none. Times are microseconds; 0 is never.
CREATE TABLE values_secret (
	name TEXT PRIMARY KEY,
	salt BYTEA NOT NULL,
	newest BIGINT NOT NULL,
	current BIGINT NOT NULL,
	pending BIGINT NOT NULL,
	previous BIGINT NOT NULL,
	rotating BOOLEAN NOT NULL,
	since BIGINT NOT NULL,
	rotate_at BIGINT NOT NULL,
	retire_at BIGINT NOT NULL,
	deleted_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	digest BYTEA
);
CREATE INDEX values_secret_rotate ON values_secret (rotate_at) WHERE rotate_at > 0;
CREATE INDEX values_secret_retire ON values_secret (retire_at) WHERE retire_at > 0;
CREATE INDEX values_secret_deleted ON values_secret (deleted_at) WHERE deleted_at > 0;
CREATE INDEX values_secret_changed ON values_secret (changed_at);
CREATE TABLE values_version (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	sealed BYTEA NOT NULL,
	made_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (name, version)
);
-- What was done and isn't known to be in the ledger yet: JSON of the event.
CREATE TABLE values_event (
	id TEXT PRIMARY KEY,
	made_at BIGINT NOT NULL,
	event BYTEA NOT NULL
);
