-- What an event is part of (W3C Trace Context), because a job carries an identity and nothing else.
ALTER TABLE callback_outbox ADD COLUMN traceparent TEXT;

-- Webhooks that are left in peace, for those who watch.
CREATE INDEX webhook_endpoints_open_idx ON webhook_endpoints (open_until)
    WHERE open_until IS NOT NULL;
