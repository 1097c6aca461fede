-- What an event is part of (W3C Trace Context), because a job carries an identity and nothing else.
ALTER TABLE callback_outbox ADD COLUMN traceparent TEXT;
