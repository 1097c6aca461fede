//! Stores, receipts and ticks: 2,000 stores and 200,000 receipts, half of them of one store.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "stores_by_tokens",
        part: "imported_success_count, paused_until FROM stores WHERE sync_token",
        arguments: r#"'["00000000000000000000000000000001"]'"#,
        postgres: &["stores_sync_token_key"],
        sqlite: &["sqlite_autoindex_stores_2"],
        sorts: false,
    },
    Hot {
        name: "look_at_stores",
        part: "AS newest, (",
        arguments: r#"'["00000000000000000000000000000001"]'"#,
        postgres: &[
            "stores_sync_token_key",
            "sync_logs_rate_limited_idx",
            "sync_logs_window_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_stores_2",
            "sync_logs_rate_limited_idx",
            "sync_logs_window_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "known_receipts",
        part: "AS asked",
        arguments: r#"'[{"store_id": "00000000000000000000000000000001", "receipt": "receipt-2"}]'"#,
        postgres: &["sync_logs_store_id_receipt_key"],
        sqlite: &["sqlite_autoindex_sync_logs_2"],
        sorts: false,
    },
    Hot {
        name: "claim_receipts",
        part: "INSERT INTO sync_logs (id, store_id, receipt, status, attempt, failed_attempt, next_retry_at",
        arguments: r#"'[{"id": "00000000000000000000000000ffffff", "store_id": "00000000000000000000000000000001", "receipt": "new"}]', NOW"#,
        postgres: &["sync_logs_store_id_receipt_key"],
        sqlite: &[],
        sorts: true,
    },
    Hot {
        name: "lock_stores",
        part: "SELECT stores.id FROM stores",
        arguments: r#"'["00000000000000000000000000000001"]'"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "take_over_claim",
        part: "UPDATE sync_logs SET next_retry_at = $2",
        arguments: "STORE, NOW, NOW",
        postgres: &["sync_logs_pkey"],
        sqlite: &["sqlite_autoindex_sync_logs_1"],
        sorts: false,
    },
    Hot {
        name: "record_outcomes",
        part: "SET status = o.status, order_id = o.order_id",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "status": "failed"}]', NOW"#,
        postgres: &["sync_logs_pkey"],
        sqlite: &["sqlite_autoindex_sync_logs_1"],
        sorts: false,
    },
    Hot {
        name: "newest_outcomes",
        part: "AS statuses FROM",
        arguments: r#"'["00000000000000000000000000000001"]'"#,
        postgres: &["sync_logs_window_idx"],
        sqlite: &["sync_logs_window_idx"],
        sorts: true,
    },
    Hot {
        name: "newest_states",
        part: "SELECT receipt, status, attempt",
        arguments: "STORE, 20",
        postgres: &["sync_logs_window_idx"],
        sqlite: &["sync_logs_window_idx"],
        sorts: false,
    },
    Hot {
        name: "due_rows",
        part: "SELECT id, receipt, created_at, attempt, failed_attempt",
        arguments: "STORE, NOW, '1970-01-01T00:00:00Z', OTHER, 100",
        postgres: &["sync_logs_batch_idx"],
        sqlite: &["sync_logs_batch_idx"],
        sorts: false,
    },
    Hot {
        name: "due_stores",
        part: "SELECT s.id, s.created_at",
        arguments: "'1970-01-01T00:00:00Z', OTHER, NOW, NOW, '2024-01-01T11:50:00Z', 100",
        postgres: &["stores_created_at_id_idx", "sync_logs_due_idx"],
        sqlite: &["stores_created_at_id_idx", "sync_logs_due_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_slots",
        part: "UPDATE stores SET enqueued_until = $2",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "move_slots",
        part: "UPDATE stores SET enqueued_until = $3",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "owner",
        part: "SELECT organization_id, ( (SELECT MIN(organization_id) FROM stores)",
        arguments: "STORE",
        postgres: &["stores_identity_key", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1", "sqlite_autoindex_stores_3"],
        sorts: false,
    },
    Hot {
        name: "lock_leased_store",
        part: "SELECT paused_at IS NOT NULL FROM stores WHERE id = $1 AND lease_token = $2",
        arguments: "STORE, OTHER",
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "record_attempts",
        part: "imported_success_count + o.successes",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "successes": 1, "status": "failed"}]', NOW"#,
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "clear_expired_leases",
        part: "WHERE lease_expires_at <= $1",
        arguments: "NOW",
        postgres: &["stores_lease_idx"],
        sqlite: &["stores_lease_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_tick",
        part: "INSERT INTO schedule_ticks",
        arguments: "'sync', NOW, NOW",
        postgres: &["schedule_ticks_pkey"],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "purge_ticks",
        part: "DELETE FROM schedule_ticks",
        arguments: "'2023-12-31T00:00:00Z'",
        postgres: &["schedule_ticks_tick_idx"],
        sqlite: &["schedule_ticks_tick_idx"],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, last_sync_at, created_at, updated_at, lease_expires_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 50), 'etsy', 'shop-' || n, 'Shop',
        'token', 'USD', CAST(lpad(to_hex(n + 1000000), 32, '0') AS UUID),
        TIMESTAMPTZ '2024-01-01 12:00:00Z' - n % 100 * INTERVAL '10 seconds',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        CASE WHEN n % 100 = 0 THEN TIMESTAMPTZ '2024-01-01 12:00:10Z' END
    FROM generate_series(1, 2000) AS n;
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 90 THEN 'success' WHEN n / 2 % 100 < 95 THEN 'failed'
            WHEN n / 2 % 100 < 98 THEN 'rate_limited' WHEN n / 2 % 100 < 99 THEN 'pending'
            ELSE 'failed' END,
        CASE WHEN n / 2 % 100 BETWEEN 92 AND 97
            THEN TIMESTAMPTZ '2024-01-01 11:00:00Z' + n % 7200 * INTERVAL '1 second' END,
        CASE WHEN n / 2 % 100 = 99 THEN TIMESTAMPTZ '2023-12-01 00:00:00Z' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 200000) AS n;
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT s, TIMESTAMPTZ '2024-01-01 12:00:00Z' - n * INTERVAL '30 seconds', now()
    FROM generate_series(1, 2900) AS n, unnest(ARRAY['sync', 'callback', 'housekeeping']) AS s;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, last_sync_at, created_at, updated_at, lease_expires_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'etsy', 'shop-' || n, 'Shop',
        'token', 'USD', unhex(printf('%032x', n + 1000000)),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704110400 - n % 100 * 10, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        CASE WHEN n % 100 = 0 THEN '2024-01-01T12:00:10+00:00' END
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 200000)
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)),
        unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 90 THEN 'success' WHEN n / 2 % 100 < 95 THEN 'failed'
            WHEN n / 2 % 100 < 98 THEN 'rate_limited' WHEN n / 2 % 100 < 99 THEN 'pending'
            ELSE 'failed' END,
        CASE WHEN n / 2 % 100 BETWEEN 92 AND 97
            THEN strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704106800 + n % 7200, 'unixepoch') END,
        CASE WHEN n / 2 % 100 = 99 THEN '2023-12-01T00:00:00+00:00' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2900)
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT value, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704110400 - n * 30, 'unixepoch'),
        '2024-01-01T12:00:00+00:00'
    FROM series, json_each('[\"sync\", \"callback\", \"housekeeping\"]');";
