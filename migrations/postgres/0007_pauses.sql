-- What operators leave alone, and the indexes of what they look at.

-- Not synced until somebody resumes it; what is asked for by the API is imported all the same.
ALTER TABLE stores ADD COLUMN paused_at TIMESTAMPTZ;
CREATE INDEX stores_paused_idx ON stores (created_at, id)
    WHERE paused_at IS NOT NULL;

-- Dead letters of a store, and the stores that have any.
CREATE INDEX sync_logs_dead_store_idx ON sync_logs (store_id, dead_at, id)
    WHERE dead_at IS NOT NULL;

-- Webhooks that are left in peace for a while.
CREATE INDEX webhook_endpoints_open_idx ON webhook_endpoints (open_until, id)
    WHERE open_until IS NOT NULL;
