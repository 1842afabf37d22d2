-- What each channel was told, and how its last tries went.
CREATE TABLE notify_channel (
	id TEXT PRIMARY KEY,
	body TEXT NOT NULL
);
-- What waits for it.
CREATE TABLE notify_message (
	id TEXT NOT NULL,
	channel TEXT NOT NULL,
	made BIGINT NOT NULL,
	number BIGINT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (channel, id)
);
