-- What was found. Texts come from outside: bounded before they are stored.
CREATE TABLE watch_finding (
	id BIGINT PRIMARY KEY,
	rule TEXT NOT NULL,
	subject TEXT NOT NULL,
	object TEXT NOT NULL,
	severity TEXT NOT NULL,
	opened BIGINT NOT NULL,
	last BIGINT NOT NULL,
	count BIGINT NOT NULL,
	closed BIGINT NOT NULL,
	body TEXT NOT NULL
);
CREATE INDEX watch_finding_by_time ON watch_finding (closed, last);
-- What nobody wants to hear of, until a day.
CREATE TABLE watch_silence (
	id BIGINT PRIMARY KEY,
	rule TEXT NOT NULL,
	subject TEXT NOT NULL,
	object TEXT NOT NULL,
	until BIGINT NOT NULL,
	reason TEXT NOT NULL,
	author TEXT NOT NULL
);
-- What answers restrict, and have restricted: how long the next one lasts follows from it.
CREATE TABLE watch_restriction (
	id TEXT PRIMARY KEY,
	target TEXT NOT NULL,
	began BIGINT NOT NULL,
	until BIGINT NOT NULL,
	body TEXT NOT NULL
);
CREATE INDEX watch_restriction_by_target ON watch_restriction (target, until);
CREATE INDEX watch_restriction_by_end ON watch_restriction (until);
-- How far into the ledger has been looked.
CREATE TABLE watch_cursor (
	name TEXT PRIMARY KEY,
	position BIGINT NOT NULL
);
