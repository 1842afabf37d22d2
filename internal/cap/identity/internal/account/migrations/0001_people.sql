CREATE TABLE account_person (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  verified BOOLEAN NOT NULL,
  name TEXT NOT NULL,
  locale TEXT NOT NULL,
  password TEXT NOT NULL,
  must_reset BOOLEAN NOT NULL,
  group_names TEXT NOT NULL,
  role_names TEXT NOT NULL,
  administrator BOOLEAN NOT NULL,
  disabled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX account_administrator ON account_person (id) WHERE administrator;

CREATE TABLE account_factor (
  id TEXT PRIMARY KEY,
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  label TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  credential TEXT UNIQUE,
  counter BIGINT NOT NULL,
  added_at BIGINT NOT NULL,
  used_at BIGINT NOT NULL
);
CREATE INDEX account_factor_person ON account_factor (person);

CREATE TABLE account_recovery_code (
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  hash BYTEA NOT NULL,
  PRIMARY KEY (person, hash)
);

CREATE TABLE account_recovery (
  person TEXT PRIMARY KEY REFERENCES account_person (id) ON DELETE CASCADE,
  asked_at BIGINT NOT NULL,
  ready_at BIGINT NOT NULL,
  denied BOOLEAN NOT NULL
);
CREATE INDEX account_recovery_ready ON account_recovery (ready_at);

CREATE TABLE account_identity (
  provider TEXT NOT NULL,
  subject TEXT NOT NULL,
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  added_at BIGINT NOT NULL,
  PRIMARY KEY (provider, subject)
);
CREATE INDEX account_identity_person ON account_identity (person);

CREATE TABLE account_device (
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  hash BYTEA NOT NULL,
  network TEXT NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (person, hash)
);
CREATE INDEX account_device_seen ON account_device (seen_at);

CREATE TABLE account_session (
  id TEXT PRIMARY KEY,
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  cookie BYTEA NOT NULL UNIQUE,
  methods TEXT NOT NULL,
  auth_at BIGINT NOT NULL,
  factor_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  device TEXT NOT NULL,
  place TEXT NOT NULL,
  fingerprint TEXT NOT NULL
);
CREATE INDEX account_session_person ON account_session (person);
CREATE INDEX account_session_expires ON account_session (expires_at);

CREATE TABLE account_visit (
  cookie BYTEA PRIMARY KEY,
  session TEXT NOT NULL REFERENCES account_session (id) ON DELETE CASCADE,
  origin TEXT NOT NULL
);
CREATE UNIQUE INDEX account_visit_session ON account_visit (session, origin);

CREATE TABLE account_arrival (
  id TEXT PRIMARY KEY,
  cookie BYTEA NOT NULL,
  origin TEXT NOT NULL,
  return_path TEXT NOT NULL,
  factor_age BIGINT NOT NULL,
  interrupted BOOLEAN NOT NULL,
  code BYTEA UNIQUE,
  session TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX account_arrival_expires ON account_arrival (expires_at);

CREATE TABLE account_flow (
  id TEXT PRIMARY KEY,
  browser BYTEA,
  revision BIGINT NOT NULL,
  state TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX account_flow_expires ON account_flow (expires_at);

CREATE TABLE account_link (
  hash BYTEA PRIMARY KEY,
  kind TEXT NOT NULL,
  person TEXT NOT NULL,
  data TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX account_link_expires ON account_link (expires_at);
CREATE INDEX account_link_person ON account_link (person, kind);

CREATE TABLE account_spent (
  id BYTEA PRIMARY KEY,
  expires_at BIGINT NOT NULL
);
CREATE INDEX account_spent_expires ON account_spent (expires_at);

CREATE TABLE account_activity (
  id TEXT PRIMARY KEY,
  person TEXT NOT NULL REFERENCES account_person (id) ON DELETE CASCADE,
  at BIGINT NOT NULL,
  what TEXT NOT NULL,
  device TEXT NOT NULL,
  place TEXT NOT NULL,
  warning BOOLEAN NOT NULL
);
CREATE INDEX account_activity_person ON account_activity (person, at);
CREATE INDEX account_activity_at ON account_activity (at);
