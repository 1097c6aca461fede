-- API keys of organizations. The keys themselves are nowhere: only their hashes.

CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    -- What people call it.
    name TEXT CHECK (LENGTH(name) <= 255),
    -- The beginning of the key, to tell keys apart by.
    prefix TEXT NOT NULL CHECK (LENGTH(prefix) <= 16),
    -- SHA-256 of the key, in hexadecimal digits.
    hash TEXT NOT NULL CHECK (LENGTH(hash) = 64),
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_at TEXT NOT NULL,
    -- Not valid from then on; none: it does not expire.
    expires_at TEXT,
    revoked_at TEXT,
    -- To the minute.
    last_used_at TEXT,
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
) STRICT;
CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, created_at, id);
