-- How events reach their subscribers: secrets, deliveries under a lease, and a log of attempts.

ALTER TABLE webhook_endpoints ADD COLUMN description TEXT;
-- One event after the other, in the order they happened.
ALTER TABLE webhook_endpoints ADD COLUMN is_ordered BOOLEAN NOT NULL DEFAULT FALSE;
-- The circuit breaker: failures in a row, and until when nothing is sent.
ALTER TABLE webhook_endpoints ADD COLUMN consecutive_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook_endpoints ADD COLUMN open_until TIMESTAMPTZ;
-- Why it is inactive; none if somebody said so.
ALTER TABLE webhook_endpoints ADD COLUMN inactive_reason TEXT;
-- Deleted ones get no more events; inactive ones get theirs when they come back.
ALTER TABLE webhook_endpoints ADD COLUMN deleted_at TIMESTAMPTZ;

CREATE TABLE webhook_secrets (
    id UUID PRIMARY KEY,
    endpoint_id UUID NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    secret TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- Signs beside the newer ones until then; none: the current one.
    expires_at TIMESTAMPTZ
);
CREATE INDEX webhook_secrets_endpoint_id_idx ON webhook_secrets (endpoint_id, created_at, id);

-- The enqueue slot of its job; changing it does not move updated_at.
ALTER TABLE callback_outbox ADD COLUMN enqueued_until TIMESTAMPTZ;

-- A delivery is claimed before it is sent, so that no two processes send it at once.
ALTER TABLE callback_deliveries ADD COLUMN lease_token UUID;
ALTER TABLE callback_deliveries ADD COLUMN lease_expires_at TIMESTAMPTZ;
DROP INDEX callback_deliveries_due_idx;
-- What is due to an endpoint, the longest due first.
CREATE INDEX callback_deliveries_due_idx
    ON callback_deliveries (endpoint_id, (COALESCE(next_attempt_at, created_at)), id)
    WHERE status = 'pending';
-- What an endpoint is still owed, in the order it happened.
CREATE INDEX callback_deliveries_pending_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'pending';

-- What is being sent.
CREATE INDEX callback_deliveries_lease_idx
    ON callback_deliveries (endpoint_id, lease_expires_at)
    WHERE lease_token IS NOT NULL;

CREATE TABLE callback_attempts (
    id UUID PRIMARY KEY,
    delivery_id UUID NOT NULL REFERENCES callback_deliveries (id) ON DELETE CASCADE ON UPDATE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    started_at TIMESTAMPTZ NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    http_status INTEGER,
    -- What kind of failure it was, when there is no status; a word of a fixed list.
    error TEXT,
    -- The first 4 KiB of the reply.
    response TEXT
);
CREATE INDEX callback_attempts_delivery_id_idx ON callback_attempts (delivery_id, started_at, id);

-- Dead letters, the newest first: of an organization, of all, of an endpoint, and of orders.
CREATE INDEX callback_outbox_failed_organization_idx
    ON callback_outbox (organization_id, created_at, id)
    WHERE status = 'failed';
CREATE INDEX callback_outbox_failed_idx ON callback_outbox (created_at, id)
    WHERE status = 'failed';
CREATE INDEX callback_deliveries_failed_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'failed';
CREATE INDEX sync_logs_dead_idx ON sync_logs (dead_at, id)
    WHERE dead_at IS NOT NULL;
-- What was delivered so long ago that it is deleted.
CREATE INDEX callback_outbox_done_idx ON callback_outbox (updated_at, id)
    WHERE status = 'success';
-- Whose events are held for too long.
CREATE INDEX webhook_endpoints_inactive_idx ON webhook_endpoints (id)
    WHERE NOT is_active;
