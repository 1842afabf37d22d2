-- States that came back, until they are too old to be taken anyway.
CREATE TABLE upstream_used (
	state BYTEA PRIMARY KEY, -- SHA-256
	until BIGINT NOT NULL
);
CREATE INDEX upstream_used_until ON upstream_used (until);
