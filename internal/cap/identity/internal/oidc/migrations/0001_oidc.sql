-- Authorization requests that were pushed (RFC 9126), or wait for a person.
CREATE TABLE oidc_request (
	hash TEXT PRIMARY KEY,
	browser TEXT NOT NULL,
	data TEXT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX oidc_request_expires ON oidc_request (expires);

-- Device authorizations (RFC 8628). state: 0 waits, 1 allowed, 2 denied, 3 fetched.
CREATE TABLE oidc_device (
	hash TEXT PRIMARY KEY,
	user_hash TEXT NOT NULL UNIQUE,
	client TEXT NOT NULL,
	data TEXT NOT NULL,
	state BIGINT NOT NULL,
	pause BIGINT NOT NULL,
	polled_at BIGINT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX oidc_device_expires ON oidc_device (expires);

