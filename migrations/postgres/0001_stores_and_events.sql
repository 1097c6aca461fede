-- Stores, their orders by receipt, and the events that tell of it.
-- The SQLite file of the same name says the same; keep the two in step.

CREATE TABLE stores (
    id UUID PRIMARY KEY,
    organization_id VARCHAR(255) NOT NULL CHECK (organization_id <> ''),
    marketplace TEXT NOT NULL CHECK (marketplace IN ('etsy', 'shopify', 'amazon')),
    external_store_id VARCHAR(255) NOT NULL CHECK (external_store_id <> ''),
    store_name VARCHAR(255) NOT NULL,
    access_token TEXT NOT NULL,
    currency VARCHAR(10) NOT NULL,
    sync_token UUID NOT NULL,
    sync_status TEXT NOT NULL DEFAULT 'pending'
        CHECK (sync_status IN ('pending', 'success', 'partial', 'failed')),
    last_sync_at TIMESTAMPTZ,
    imported_success_count BIGINT NOT NULL DEFAULT 0 CHECK (imported_success_count >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    -- Coordination of runs; changing these does not move updated_at.
    lease_token UUID,
    lease_expires_at TIMESTAMPTZ,
    enqueued_until TIMESTAMPTZ,
    paused_until TIMESTAMPTZ,
    CONSTRAINT stores_sync_token_key UNIQUE (sync_token),
    CONSTRAINT stores_identity_key UNIQUE (organization_id, marketplace, external_store_id)
);
CREATE INDEX stores_created_at_id_idx ON stores (created_at, id);
CREATE INDEX stores_sync_status_idx ON stores (sync_status, created_at, id);
CREATE INDEX stores_lease_idx ON stores (lease_expires_at) WHERE lease_expires_at IS NOT NULL;

-- One row per receipt per store: what is due is a row here.
CREATE TABLE sync_logs (
    id UUID PRIMARY KEY,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    receipt VARCHAR(255) NOT NULL CHECK (receipt <> ''),
    status TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'success', 'failed', 'rate_limited')),
    order_id VARCHAR(255),
    amount_minor BIGINT,
    currency VARCHAR(10),
    error_details TEXT,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    failed_attempt INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempt >= 0),
    next_retry_at TIMESTAMPTZ,
    -- Set when it failed for the last time: a dead letter, not tried again by itself.
    dead_at TIMESTAMPTZ,
    imported_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT sync_logs_store_id_receipt_key UNIQUE (store_id, receipt),
    CONSTRAINT sync_logs_dead_is_failed CHECK (dead_at IS NULL OR status = 'failed')
);
-- Since when is something of this store due?
CREATE INDEX sync_logs_due_idx ON sync_logs (store_id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;
-- The next batch of a run, oldest first; rows that are not due yet are passed over in the index.
CREATE INDEX sync_logs_batch_idx
    ON sync_logs (store_id, created_at, id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;
-- The newest rows, which decide the status of a store.
CREATE INDEX sync_logs_window_idx ON sync_logs (store_id, created_at DESC, id DESC, status)
    WHERE status <> 'pending';
CREATE INDEX sync_logs_rate_limited_idx ON sync_logs (store_id)
    WHERE status = 'rate_limited';

CREATE TABLE webhook_endpoints (
    id UUID PRIMARY KEY,
    organization_id VARCHAR(255) NOT NULL CHECK (organization_id <> ''),
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed')),
    target_url TEXT NOT NULL CHECK (LENGTH(target_url) <= 2048),
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT webhook_endpoints_identity_key UNIQUE (organization_id, event, target_url)
);

CREATE TABLE callback_outbox (
    id UUID PRIMARY KEY,
    organization_id VARCHAR(255) NOT NULL,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed')),
    payload JSONB NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_retry_at TIMESTAMPTZ,
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX callback_outbox_pending_idx ON callback_outbox (created_at, id)
    WHERE status = 'pending';
CREATE INDEX callback_outbox_organization_id_idx ON callback_outbox (organization_id, created_at, id);
CREATE INDEX callback_outbox_store_id_idx ON callback_outbox (store_id, created_at, id);

-- One row per event and endpoint: who has it, who is still owed it.
CREATE TABLE callback_deliveries (
    id UUID PRIMARY KEY,
    outbox_id UUID NOT NULL REFERENCES callback_outbox (id) ON DELETE CASCADE ON UPDATE CASCADE,
    endpoint_id UUID NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    http_status INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_attempt_at TIMESTAMPTZ,
    last_error TEXT,
    delivered_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT callback_deliveries_identity_key UNIQUE (outbox_id, endpoint_id)
);
CREATE INDEX callback_deliveries_endpoint_id_idx ON callback_deliveries (endpoint_id, created_at, id);
CREATE INDEX callback_deliveries_due_idx ON callback_deliveries (created_at, id)
    WHERE status = 'pending';
