-- Coarse counts of tries against accounts, by keyed hash.
CREATE TABLE flag_account (
	hash BIGINT PRIMARY KEY,
	day BIGINT NOT NULL, -- number since 1970
	today BIGINT NOT NULL,
	before BIGINT NOT NULL,
	total BIGINT NOT NULL
);
CREATE INDEX flag_account_total ON flag_account (total, hash);
CREATE INDEX flag_account_day ON flag_account (day);

-- Where people signed in, as JSON: networks and the last place.
CREATE TABLE flag_person (
	person TEXT PRIMARY KEY,
	habits TEXT NOT NULL,
	seen BIGINT NOT NULL
);
CREATE INDEX flag_person_seen ON flag_person (seen);

-- What is usual, as JSON.
CREATE TABLE flag_usual (
	name TEXT PRIMARY KEY,
	value TEXT NOT NULL
);
