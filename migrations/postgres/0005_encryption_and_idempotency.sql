-- Stored secrets are encrypted, and a request that is repeated has one effect.

-- The keys that stored secrets are encrypted with; none may be given up while it is listed.
CREATE TABLE encryption_keys (
    -- The beginning of the SHA-256 of the key.
    key_id TEXT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

-- What was answered to requests with an Idempotency-Key.
CREATE TABLE idempotency_keys (
    -- Of the request that runs, or ran; another one that takes over has another id.
    id UUID PRIMARY KEY,
    -- Whose key it is: keys of two organizations, or of two stores, are not the same.
    scope TEXT NOT NULL,
    -- Method and path template.
    route TEXT NOT NULL,
    idempotency_key TEXT NOT NULL CHECK (LENGTH(idempotency_key) BETWEEN 1 AND 255),
    -- SHA-256 of the request.
    fingerprint TEXT NOT NULL,
    -- Until when the request counts as running; renewed while it does.
    running_until TIMESTAMPTZ NOT NULL,
    -- The answer; none while the request runs.
    status INTEGER,
    -- A secret: it may contain some.
    answer TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT idempotency_keys_identity_key UNIQUE (scope, route, idempotency_key),
    CONSTRAINT idempotency_keys_answer_is_whole CHECK ((status IS NULL) = (answer IS NULL))
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at, id);
