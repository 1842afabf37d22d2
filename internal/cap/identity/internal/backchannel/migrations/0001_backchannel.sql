-- Back-channel logouts that are to be sent.
CREATE TABLE backchannel_logout (
	id TEXT PRIMARY KEY,
	client TEXT NOT NULL,
	uri TEXT NOT NULL,
	person TEXT NOT NULL,
	session TEXT NOT NULL,
	tries BIGINT NOT NULL,
	next_at BIGINT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX backchannel_logout_next ON backchannel_logout (next_at);
