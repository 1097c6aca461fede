//! What operators look at, on 2,000 stores and webhooks, 100,000 receipts and 50,000 events, one
//! in fifty of them still pending or given up. PostgreSQL sorts what an index finds when that is
//! little.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "store_numbers",
        part: "sync_status BETWEEN 'failed' AND 'failed'",
        arguments: "1001, '1970-01-01T00:00:00Z'",
        postgres: &[
            "stores_paused_idx",
            "stores_sync_status_idx",
            "sync_logs_dead_idx",
        ],
        sqlite: &[
            "stores_paused_idx",
            "stores_sync_status_idx",
            "sync_logs_dead_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "callback_numbers",
        part: "AS inactive, (SELECT COUNT(*)",
        arguments: "1001, '1970-01-01T00:00:00Z', NOW, '00000000-0000-0000-0000-000000000000'",
        postgres: &[
            "callback_outbox_failed_idx",
            "callback_outbox_pending_idx",
            "webhook_endpoints_inactive_idx",
            "webhook_endpoints_open_idx",
        ],
        sqlite: &[
            "callback_outbox_failed_idx",
            "callback_outbox_pending_idx",
            "webhook_endpoints_inactive_idx",
            "webhook_endpoints_open_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "last_tick",
        part: "SELECT tick FROM schedule_ticks WHERE schedule = $1 ORDER BY",
        arguments: "'sync'",
        postgres: &["schedule_ticks_pkey"],
        sqlite: &["sqlite_autoindex_schedule_ticks_1"],
        sorts: false,
    },
    Hot {
        name: "all_stores",
        part: "SELECT id, created_at FROM stores WHERE (created_at, id) > ($1, $2)",
        arguments: "'1970-01-01T00:00:00Z', OTHER, 51",
        postgres: &["stores_created_at_id_idx"],
        sqlite: &["stores_created_at_id_idx"],
        sorts: false,
    },
    Hot {
        name: "failing_stores",
        part: "FROM stores WHERE sync_status = 'failed' AND (created_at, id)",
        arguments: "'1970-01-01T00:00:00Z', OTHER, 51",
        postgres: &["stores_sync_status_idx"],
        sqlite: &["stores_sync_status_idx"],
        sorts: true,
    },
    Hot {
        name: "paused_stores",
        part: "FROM stores WHERE paused_at IS NOT NULL AND (created_at, id)",
        arguments: "'1970-01-01T00:00:00Z', OTHER, 51",
        postgres: &["stores_paused_idx"],
        sqlite: &["stores_paused_idx"],
        sorts: false,
    },
    Hot {
        name: "waiting_stores",
        part: "AS may_be_synced FROM head",
        arguments: "OTHER, NOW, 500",
        postgres: &["stores_pkey", "sync_logs_due_idx"],
        sqlite: &["sqlite_autoindex_stores_1", "sync_logs_due_idx"],
        sorts: true,
    },
    Hot {
        name: "stores_with_dead_letters",
        part: "ORDER BY l.store_id, l.dead_at, l.id",
        arguments: "OTHER, 51",
        postgres: &["sync_logs_dead_store_idx"],
        sqlite: &["sync_logs_dead_store_idx"],
        sorts: true,
    },
    Hot {
        name: "store_details",
        part: "s.lease_token, s.lease_expires_at, (",
        arguments: "STORE, 1001",
        postgres: &[
            "stores_pkey",
            "sync_logs_dead_store_idx",
            "sync_logs_due_idx",
            "sync_logs_window_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_stores_1",
            "sync_logs_dead_store_idx",
            "sync_logs_due_idx",
            "sync_logs_window_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "all_endpoints",
        part: "SELECT id, deleted_at AS at FROM webhook_endpoints WHERE id > $1",
        arguments: "OTHER, 51",
        postgres: &["webhook_endpoints_pkey"],
        sqlite: &["sqlite_autoindex_webhook_endpoints_1"],
        sorts: false,
    },
    Hot {
        name: "open_endpoints",
        part: "SELECT id, open_until AS at",
        arguments: "NOW, OTHER, 51",
        postgres: &["webhook_endpoints_open_idx"],
        sqlite: &["webhook_endpoints_open_idx"],
        sorts: false,
    },
    Hot {
        name: "inactive_endpoints",
        part: "inactive_reason = $2) ORDER BY id",
        arguments: "OTHER, NULL, 51",
        postgres: &["webhook_endpoints_inactive_idx"],
        sqlite: &["webhook_endpoints_inactive_idx"],
        sorts: false,
    },
    Hot {
        name: "endpoint_details",
        part: "e.consecutive_failures, e.open_until, (",
        arguments: "STORE, 1001",
        postgres: &[
            "callback_deliveries_failed_endpoint_idx",
            "callback_deliveries_pending_endpoint_idx",
            "webhook_endpoints_pkey",
        ],
        sqlite: &[
            "callback_deliveries_failed_endpoint_idx",
            "callback_deliveries_pending_endpoint_idx",
            "sqlite_autoindex_webhook_endpoints_1",
        ],
        sorts: true,
    },
    Hot {
        name: "dead_orders",
        part: "FROM sync_logs AS l WHERE l.dead_at IS NOT NULL AND (l.dead_at, l.id)",
        arguments: "NOW, OTHER, 51",
        postgres: &["stores_pkey", "sync_logs_dead_idx"],
        sqlite: &["sqlite_autoindex_stores_1", "sync_logs_dead_idx"],
        sorts: false,
    },
    Hot {
        name: "dead_orders_of",
        part: "WHERE l.store_id = $1 AND l.dead_at IS NOT NULL AND (l.dead_at, l.id)",
        arguments: "STORE, NOW, OTHER, 51",
        postgres: &["stores_pkey", "sync_logs_dead_store_idx"],
        sqlite: &["sqlite_autoindex_stores_1", "sync_logs_dead_store_idx"],
        sorts: false,
    },
    Hot {
        name: "dead_callbacks",
        part: "FROM callback_outbox AS o WHERE o.status = 'failed'",
        arguments: "NOW, OTHER, 51",
        postgres: &["callback_outbox_failed_idx", "stores_pkey"],
        sqlite: &["callback_outbox_failed_idx", "sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "last_to_hurry",
        part: "SELECT due_at FROM ( SELECT",
        arguments: "STORE, NOW, 1000",
        postgres: &["sync_logs_due_idx"],
        sqlite: &["sync_logs_due_idx"],
        sorts: true,
    },
    Hot {
        name: "hurry",
        part: "SET next_retry_at = $3, updated_at = $3",
        arguments: "STORE, NOW, NOW",
        postgres: &["sync_logs_due_idx"],
        sqlite: &["sync_logs_due_idx"],
        sorts: false,
    },
    Hot {
        name: "last_to_revive",
        part: "SELECT dead_at, id FROM ( SELECT",
        arguments: "STORE, 1000",
        postgres: &["sync_logs_dead_store_idx"],
        sqlite: &["sync_logs_dead_store_idx"],
        sorts: true,
    },
    Hot {
        name: "revive_receipts",
        part: "dead_at IS NOT NULL AND (dead_at, id) <= ($2, $3)",
        arguments: "STORE, NOW, OTHER, NOW",
        postgres: &["sync_logs_dead_store_idx"],
        sqlite: &["sync_logs_dead_store_idx"],
        sorts: false,
    },
    Hot {
        name: "hurry_first_delivery",
        part: "SET next_attempt_at = $2, updated_at = $2 WHERE id = ( SELECT",
        arguments: "STORE, NOW",
        postgres: &[
            "callback_deliveries_pending_endpoint_idx",
            "callback_deliveries_pkey",
        ],
        sqlite: &[
            "callback_deliveries_pending_endpoint_idx",
            "sqlite_autoindex_callback_deliveries_1",
        ],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, sync_status, paused_at, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 50), 'etsy', 'shop-' || n, 'Shop',
        'token', 'USD', CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 20 = 1 THEN 'partial'
            WHEN n % 20 = 2 THEN 'pending' ELSE 'success' END,
        CASE WHEN n % 100 = 0 THEN TIMESTAMPTZ '2024-01-01 11:00:00Z' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour'
    FROM generate_series(1, 2000) AS n;
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 96 THEN 'success' ELSE 'failed' END,
        CASE WHEN n / 2 % 100 IN (96, 97) THEN TIMESTAMPTZ '2024-01-01 11:00:00Z' + n % 7200 * INTERVAL '1 second' END,
        CASE WHEN n / 2 % 100 = 99 THEN TIMESTAMPTZ '2023-12-01 00:00:00Z' + n * INTERVAL '1 second' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 100000) AS n;
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT s, TIMESTAMPTZ '2024-01-01 12:00:00Z' - n * INTERVAL '30 seconds', now()
    FROM generate_series(1, 2900) AS n, unnest(ARRAY['sync', 'callback', 'housekeeping']) AS s;
    INSERT INTO webhook_endpoints (id, organization_id, event, target_url, is_active,
        inactive_reason, open_until, deleted_at, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 50), 'sync.completed',
        'https://example.com/' || n, n % 10 > 0, CASE WHEN n % 20 = 0 THEN 'paused' END,
        CASE WHEN n % 10 = 1 THEN TIMESTAMPTZ '2024-01-01 12:01:00Z' END,
        CASE WHEN n % 30 = 0 THEN TIMESTAMPTZ '2024-01-01 00:00:00Z' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z', TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 2000) AS n;
    INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
        created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 50),
        CAST(lpad(to_hex(1 + n % 2000), 32, '0') AS UUID), 'sync.completed', '{}',
        CASE WHEN n % 50 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 50000) AS n;
    INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, created_at, updated_at)
    SELECT id, id, CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n % 1999 END), 32, '0') AS UUID),
        status, created_at, updated_at
    FROM (SELECT id, status, created_at, updated_at, row_number() OVER (ORDER BY id) AS n
        FROM callback_outbox) AS events;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, sync_status, paused_at, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'etsy', 'shop-' || n, 'Shop', 'token', 'USD',
        unhex(printf('%032x', n)),
        CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 20 = 1 THEN 'partial'
            WHEN n % 20 = 2 THEN 'pending' ELSE 'success' END,
        CASE WHEN n % 100 = 0 THEN '2024-01-01T11:00:00+00:00' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch')
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 100000)
    INSERT INTO sync_logs (id, store_id, receipt, status, next_retry_at, dead_at, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)),
        unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)),
        'receipt-' || n,
        CASE WHEN n / 2 % 100 < 96 THEN 'success' ELSE 'failed' END,
        CASE WHEN n / 2 % 100 IN (96, 97)
            THEN strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704106800 + n % 7200, 'unixepoch') END,
        CASE WHEN n / 2 % 100 = 99
            THEN strftime('%Y-%m-%dT%H:%M:%S+00:00', 1701388800 + n, 'unixepoch') END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2900)
    INSERT INTO schedule_ticks (schedule, tick, claimed_at)
    SELECT value, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704110400 - n * 30, 'unixepoch'),
        '2024-01-01T12:00:00+00:00'
    FROM series, json_each('[\"sync\", \"callback\", \"housekeeping\"]');
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO webhook_endpoints (id, organization_id, event, target_url, is_active,
        inactive_reason, open_until, deleted_at, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'sync.completed', 'https://example.com/' || n,
        n % 10 > 0, CASE WHEN n % 20 = 0 THEN 'paused' END,
        CASE WHEN n % 10 = 1 THEN '2024-01-01T12:01:00+00:00' END,
        CASE WHEN n % 30 = 0 THEN '2024-01-01T00:00:00+00:00' END,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 50000)
    INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
        created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), unhex(printf('%032x', 1 + n % 2000)),
        'sync.completed', '{}',
        CASE WHEN n % 50 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series;
    INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, created_at, updated_at)
    SELECT id, id, unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n % 1999 END)), status,
        created_at, updated_at
    FROM (SELECT id, status, created_at, updated_at, row_number() OVER (ORDER BY id) AS n
        FROM callback_outbox);";
