-- Which replica ran which tick, where a pass left off, and which queue it filled.

CREATE TABLE schedule_ticks (
    schedule TEXT NOT NULL,
    tick TIMESTAMPTZ NOT NULL,
    claimed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (schedule, tick)
);
-- The old ones are deleted.
CREATE INDEX schedule_ticks_tick_idx ON schedule_ticks (tick);

-- A pass that met a full queue goes on here next time, so that nobody starves.
CREATE TABLE schedule_cursors (
    schedule TEXT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    id UUID NOT NULL
);

-- The incarnation of the queue that the enqueue slots were taken for: when the queue is lost
-- (a flushed Redis), its epoch changes and the slots are free again.
CREATE TABLE queue_epochs (
    queue TEXT PRIMARY KEY,
    epoch UUID NOT NULL
);
