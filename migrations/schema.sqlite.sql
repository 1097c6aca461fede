-- Made from the migrations by `marketplace-sync export-schema`; do not edit.

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

CREATE TABLE callback_attempts (
    id BLOB NOT NULL PRIMARY KEY,
    delivery_id BLOB NOT NULL REFERENCES callback_deliveries (id) ON DELETE CASCADE ON UPDATE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    started_at TEXT NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    http_status INTEGER,
    -- What kind of failure it was, when there is no status; a word of a fixed list.
    error TEXT,
    -- The first 4 KiB of the reply.
    response TEXT
) STRICT;

CREATE TABLE callback_deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    outbox_id BLOB NOT NULL REFERENCES callback_outbox (id) ON DELETE CASCADE ON UPDATE CASCADE,
    endpoint_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    http_status INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_attempt_at TEXT,
    last_error TEXT,
    delivered_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, lease_token BLOB, lease_expires_at TEXT,
    CONSTRAINT callback_deliveries_identity_key UNIQUE (outbox_id, endpoint_id)
) STRICT;

CREATE TABLE callback_outbox (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed')),
    payload TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_retry_at TEXT,
    last_error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
, enqueued_until TEXT, traceparent TEXT) STRICT;

CREATE TABLE encryption_keys (
    -- The beginning of the SHA-256 of the key.
    key_id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    -- Of the request that runs, or ran; another one that takes over has another id.
    id BLOB NOT NULL PRIMARY KEY,
    -- Whose key it is: keys of two organizations, or of two stores, are not the same.
    scope TEXT NOT NULL,
    -- Method and path template.
    route TEXT NOT NULL,
    idempotency_key TEXT NOT NULL CHECK (LENGTH(idempotency_key) BETWEEN 1 AND 255),
    -- SHA-256 of the request.
    fingerprint TEXT NOT NULL,
    -- Until when the request counts as running; renewed while it does.
    running_until TEXT NOT NULL,
    -- The answer; none while the request runs.
    status INTEGER,
    -- A secret: it may contain some.
    answer TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    CONSTRAINT idempotency_keys_identity_key UNIQUE (scope, route, idempotency_key),
    CONSTRAINT idempotency_keys_answer_is_whole CHECK ((status IS NULL) = (answer IS NULL))
) STRICT;

CREATE TABLE queue_epochs (
    queue TEXT NOT NULL PRIMARY KEY,
    epoch BLOB NOT NULL
) STRICT;

CREATE TABLE schedule_cursors (
    schedule TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL,
    id BLOB NOT NULL
) STRICT;

CREATE TABLE schedule_ticks (
    schedule TEXT NOT NULL,
    tick TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    PRIMARY KEY (schedule, tick)
) STRICT;

CREATE TABLE stores (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    marketplace TEXT NOT NULL CHECK (marketplace IN ('etsy', 'shopify', 'amazon')),
    external_store_id TEXT NOT NULL CHECK (LENGTH(external_store_id) BETWEEN 1 AND 255),
    store_name TEXT NOT NULL CHECK (LENGTH(store_name) <= 255),
    access_token TEXT NOT NULL,
    currency TEXT NOT NULL CHECK (LENGTH(currency) <= 10),
    sync_token BLOB NOT NULL,
    sync_status TEXT NOT NULL DEFAULT 'pending'
        CHECK (sync_status IN ('pending', 'success', 'partial', 'failed')),
    last_sync_at TEXT,
    imported_success_count INTEGER NOT NULL DEFAULT 0 CHECK (imported_success_count >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    -- Coordination of runs; changing these does not move updated_at.
    lease_token BLOB,
    lease_expires_at TEXT,
    enqueued_until TEXT,
    paused_until TEXT, paused_at TEXT,
    CONSTRAINT stores_sync_token_key UNIQUE (sync_token),
    CONSTRAINT stores_identity_key UNIQUE (organization_id, marketplace, external_store_id)
) STRICT;

CREATE TABLE sync_logs (
    id BLOB NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    receipt TEXT NOT NULL CHECK (LENGTH(receipt) BETWEEN 1 AND 255),
    status TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'success', 'failed', 'rate_limited')),
    order_id TEXT CHECK (LENGTH(order_id) <= 255),
    amount_minor INTEGER,
    currency TEXT CHECK (LENGTH(currency) <= 10),
    error_details TEXT,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    failed_attempt INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempt >= 0),
    next_retry_at TEXT,
    -- Set when it failed for the last time: a dead letter, not tried again by itself.
    dead_at TEXT,
    imported_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT sync_logs_store_id_receipt_key UNIQUE (store_id, receipt),
    CONSTRAINT sync_logs_dead_is_failed CHECK (dead_at IS NULL OR status = 'failed')
) STRICT;

CREATE TABLE webhook_endpoints (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed')),
    target_url TEXT NOT NULL CHECK (LENGTH(target_url) <= 2048),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, description TEXT, is_ordered INTEGER NOT NULL DEFAULT 0 CHECK (is_ordered IN (0, 1)), consecutive_failures INTEGER NOT NULL DEFAULT 0, open_until TEXT, inactive_reason TEXT, deleted_at TEXT,
    CONSTRAINT webhook_endpoints_identity_key UNIQUE (organization_id, event, target_url)
) STRICT;

CREATE TABLE webhook_secrets (
    id BLOB NOT NULL PRIMARY KEY,
    endpoint_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    secret TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Signs beside the newer ones until then; none: the current one.
    expires_at TEXT
) STRICT;

CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, created_at, id);

CREATE INDEX callback_attempts_delivery_id_idx ON callback_attempts (delivery_id, started_at, id);

CREATE INDEX callback_deliveries_due_idx
    ON callback_deliveries (endpoint_id, (COALESCE(next_attempt_at, created_at)), id)
    WHERE status = 'pending';

CREATE INDEX callback_deliveries_endpoint_id_idx ON callback_deliveries (endpoint_id, created_at, id);

CREATE INDEX callback_deliveries_failed_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_deliveries_pending_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'pending';

CREATE INDEX callback_outbox_done_idx ON callback_outbox (updated_at, id)
    WHERE status = 'success';

CREATE INDEX callback_outbox_failed_idx ON callback_outbox (created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_outbox_failed_organization_idx
    ON callback_outbox (organization_id, created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_outbox_organization_id_idx ON callback_outbox (organization_id, created_at, id);

CREATE INDEX callback_outbox_pending_idx ON callback_outbox (created_at, id)
    WHERE status = 'pending';

CREATE INDEX callback_outbox_store_id_idx ON callback_outbox (store_id, created_at, id);

CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at, id);

CREATE INDEX schedule_ticks_tick_idx ON schedule_ticks (tick);

CREATE INDEX stores_created_at_id_idx ON stores (created_at, id);

CREATE INDEX stores_lease_idx ON stores (lease_expires_at) WHERE lease_expires_at IS NOT NULL;

CREATE INDEX stores_paused_idx ON stores (created_at, id)
    WHERE paused_at IS NOT NULL;

CREATE INDEX stores_sync_status_idx ON stores (sync_status, created_at, id);

CREATE INDEX sync_logs_batch_idx
    ON sync_logs (store_id, created_at, id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;

CREATE INDEX sync_logs_dead_idx ON sync_logs (dead_at, id)
    WHERE dead_at IS NOT NULL;

CREATE INDEX sync_logs_dead_store_idx ON sync_logs (store_id, dead_at, id)
    WHERE dead_at IS NOT NULL;

CREATE INDEX sync_logs_due_idx ON sync_logs (store_id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;

CREATE INDEX sync_logs_rate_limited_idx ON sync_logs (store_id)
    WHERE status = 'rate_limited';

CREATE INDEX sync_logs_window_idx ON sync_logs (store_id, created_at DESC, id DESC, status)
    WHERE status <> 'pending';

CREATE INDEX webhook_endpoints_inactive_idx ON webhook_endpoints (id)
    WHERE NOT is_active;

CREATE INDEX webhook_endpoints_open_idx ON webhook_endpoints (open_until, id)
    WHERE open_until IS NOT NULL;

CREATE INDEX webhook_secrets_endpoint_id_idx ON webhook_secrets (endpoint_id, created_at, id);
