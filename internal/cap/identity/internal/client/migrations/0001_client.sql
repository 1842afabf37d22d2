-- Clients that administrators add at run time.
CREATE TABLE client_added (
	id TEXT PRIMARY KEY,
	data TEXT NOT NULL,
	added_at BIGINT NOT NULL
);

-- Origins of public clients' redirects, for CORS.
CREATE TABLE client_origin (
	origin TEXT NOT NULL,
	client TEXT NOT NULL,
	PRIMARY KEY (origin, client)
);
CREATE INDEX client_origin_client ON client_origin (client);
