-- API keys of organizations. The keys themselves are nowhere: only their hashes.

CREATE TABLE api_keys (
    id UUID PRIMARY KEY,
    organization_id VARCHAR(255) NOT NULL CHECK (organization_id <> ''),
    -- What people call it.
    name VARCHAR(255),
    -- The beginning of the key, to tell keys apart by.
    prefix VARCHAR(16) NOT NULL,
    -- SHA-256 of the key, in hexadecimal digits.
    hash VARCHAR(64) NOT NULL CHECK (LENGTH(hash) = 64),
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_at TIMESTAMPTZ NOT NULL,
    -- Not valid from then on; none: it does not expire.
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    -- To the minute.
    last_used_at TIMESTAMPTZ,
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
);
CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, created_at, id);
