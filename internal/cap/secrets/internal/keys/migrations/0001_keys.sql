-- Managed keys. generation grows with every change, so that a use under what was known before is noticed. Times of 0 are never.
CREATE TABLE keys_key (
	name TEXT PRIMARY KEY,
	purpose TEXT NOT NULL,
	generation BIGINT NOT NULL,
	kek BYTEA, -- sealed under the root; NULL once the key is destroyed
	rotate BIGINT NOT NULL,
	min_version BIGINT NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	delete_at BIGINT NOT NULL,
	destroyed_at BIGINT NOT NULL
);

-- Versions of keys, sealed under the key's own kek. data_keys, messages and bytes are what may have been encrypted under it, at most.
CREATE TABLE keys_version (
	id BYTEA PRIMARY KEY,
	name TEXT NOT NULL,
	number BIGINT NOT NULL,
	sealed BYTEA,
	public BYTEA NOT NULL,
	imported BOOLEAN NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	starts_at BIGINT NOT NULL,
	data_keys BIGINT NOT NULL,
	messages BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	UNIQUE (name, number)
);

-- Keys of data owners, sealed under a version; the owner is known by a keyed hash only.
CREATE TABLE keys_owner (
	name TEXT NOT NULL,
	owner BYTEA NOT NULL,
	version BYTEA NOT NULL,
	sealed BYTEA NOT NULL,
	PRIMARY KEY (name, owner, version)
);

-- Owners whose keys were destroyed, and who get none again before they are readmitted.
CREATE TABLE keys_shredded (
	name TEXT NOT NULL,
	owner BYTEA NOT NULL,
	shredded_at BIGINT NOT NULL,
	PRIMARY KEY (name, owner)
);

CREATE TABLE keys_use (
	name TEXT NOT NULL,
	service TEXT NOT NULL,
	op TEXT NOT NULL,
	count BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	PRIMARY KEY (name, service, op)
);
