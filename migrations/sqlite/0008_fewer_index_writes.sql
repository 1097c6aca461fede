-- Whether an endpoint is being sent to is asked of what it is owed first, so that taking the lease
-- of a delivery changes no index.
DROP INDEX callback_deliveries_lease_idx;
