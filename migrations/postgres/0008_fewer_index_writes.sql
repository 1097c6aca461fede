-- Whether an endpoint is being sent to is asked of what it is owed first, so that taking the lease
-- of a delivery changes no index.
DROP INDEX callback_deliveries_lease_idx;

-- Room in each page for the next version of its rows: events and deliveries are written a handful
-- of times within seconds, and a version in the same page needs no new entries in the indexes.
ALTER TABLE callback_outbox SET (fillfactor = 60);
ALTER TABLE callback_deliveries SET (fillfactor = 70);
