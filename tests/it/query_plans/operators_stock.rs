//! What operators look at of stock, on 2,000 stores, 20,000 products of which the first store lists
//! half, one in fifty of them refused, 60,000 rows of the queue of which one in six waits, 40,000
//! pushes with as many items and requests, one in forty of them without results. PostgreSQL sorts
//! what an index finds when that is little.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "pair_numbers",
        part: "WHERE push_state = 'BLOCKED' AND store_id > $2",
        arguments: "1001, '00000000-0000-0000-0000-000000000000'",
        postgres: &[
            "product_stores_blocked_idx",
            "stock_update_queue_pending_key",
        ],
        sqlite: &[
            "product_stores_blocked_idx",
            "stock_update_queue_pending_key",
        ],
        sorts: true,
    },
    Hot {
        name: "push_numbers",
        part: "FROM stock_pushes WHERE state IN ('SENDING', 'ACCEPTED', 'UNKNOWN') AND store_id > $3",
        arguments: "1001, NOW, '00000000-0000-0000-0000-000000000000'",
        postgres: &["stock_pushes_outstanding_idx"],
        sqlite: &["stock_pushes_outstanding_idx"],
        sorts: true,
    },
    Hot {
        name: "waiting_stores",
        part: "GROUP BY levels.store_id",
        arguments: "OTHER, 500",
        postgres: &["stock_update_queue_claim_idx", "stock_update_queue_due_idx"],
        sqlite: &["stock_update_queue_claim_idx", "stock_update_queue_due_idx"],
        sorts: true,
    },
    Hot {
        name: "age_of_queue",
        part: "WITH RECURSIVE levels (priority) AS",
        arguments: "STORE, NOW, 1001",
        postgres: &["stock_update_queue_claim_idx"],
        sqlite: &["stock_update_queue_claim_idx"],
        sorts: true,
    },
    Hot {
        name: "limited_stores",
        part: "SELECT store_id AS id, last_sent_at, pending_count",
        arguments: "OTHER, 500",
        postgres: &["marketplace_rate_limits_pkey"],
        sqlite: &["sqlite_autoindex_marketplace_rate_limits_1"],
        sorts: false,
    },
    Hot {
        name: "pushed_stores",
        part: "WHERE stock_push_mode <> 'OFF' AND (created_at, id) > ($1, $2)",
        arguments: "'1970-01-01T00:00:00Z', OTHER, 51",
        postgres: &["stores_stock_push_idx"],
        sqlite: &["stores_stock_push_idx"],
        sorts: false,
    },
    Hot {
        name: "stock_of_store",
        part: "s.stock_push_mode, l.last_sent_at",
        arguments: "STORE, 1001",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "product_stores_blocked_idx",
            "stock_update_queue_due_idx",
            "stores_pkey",
        ],
        sqlite: &[
            "product_stores_blocked_idx",
            "sqlite_autoindex_marketplace_rate_limits_1",
            "sqlite_autoindex_stores_1",
            "stock_update_queue_due_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "blocked_products",
        part: "FROM product_stores AS b WHERE b.push_state = 'BLOCKED'",
        arguments: "STORE, OTHER, STORE, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 51",
        postgres: &["product_stores_blocked_idx", "products_pkey", "stores_pkey"],
        sqlite: &[
            "product_stores_blocked_idx",
            "sqlite_autoindex_products_1",
            "sqlite_autoindex_stores_1",
        ],
        sorts: false,
    },
    Hot {
        name: "pushes",
        part: "FROM stock_pushes AS p WHERE (p.created_at, p.id) < ($1, $2)",
        arguments: "NOW, OTHER, 51",
        postgres: &["stock_pushes_created_at_idx", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1", "stock_pushes_created_at_idx"],
        sorts: false,
    },
    Hot {
        name: "pushes_of",
        part: "FROM stock_pushes AS p WHERE (p.store_id, p.created_at, p.id)",
        arguments: "STORE, NOW, OTHER, 51",
        postgres: &["stock_pushes_store_idx", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1", "stock_pushes_store_idx"],
        sorts: false,
    },
    Hot {
        name: "push",
        part: "FROM stock_pushes AS p WHERE p.id = $1",
        arguments: "STORE",
        postgres: &["stock_pushes_pkey", "stores_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_pushes_1",
            "sqlite_autoindex_stores_1",
        ],
        sorts: false,
    },
    Hot {
        name: "body_of_push",
        part: "SELECT body FROM stock_pushes WHERE id = $1",
        arguments: "STORE",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "first_calls",
        part: "FROM api_logs WHERE push_id = $1 ORDER BY created_at, id LIMIT $2",
        arguments: "STORE, 5",
        postgres: &["api_logs_push_idx"],
        sqlite: &["api_logs_push_idx"],
        sorts: true,
    },
    Hot {
        name: "last_calls",
        part: "FROM api_logs WHERE push_id = $1 ORDER BY created_at DESC, id DESC",
        arguments: "STORE, 6",
        postgres: &["api_logs_push_idx"],
        sqlite: &["api_logs_push_idx"],
        sorts: true,
    },
    Hot {
        name: "rejected_items",
        part: "FROM stock_push_items AS i WHERE i.push_id = $1 AND i.state = 'REJECTED'",
        arguments: "STORE, 51",
        postgres: &["products_pkey", "stock_push_items_pkey"],
        sqlite: &[
            "sqlite_autoindex_products_1",
            "sqlite_autoindex_stock_push_items_1",
        ],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, stock_push_mode, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || n % 50, 'trendyol', 'shop-' || n,
        'Shop', 'token', 'TRY', CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CASE WHEN n % 20 = 0 THEN 'LIVE' WHEN n % 20 = 1 THEN 'DRY_RUN' ELSE 'OFF' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 hour'
    FROM generate_series(1, 2000) AS n;
    INSERT INTO marketplace_rate_limits (store_id, backoff_until, backoff_reason, created_at,
        updated_at)
    SELECT id, CASE WHEN get_byte(uuid_send(id), 15) % 50 = 0 THEN TIMESTAMPTZ '2024-01-01 12:10:00Z' END,
        'AUTH', created_at, created_at
    FROM stores;
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-1', 'Thing ' || n, 'sku-' || n,
        'barcode-' || n, 'SIMPLE', TIMESTAMPTZ '2023-01-01 00:00:00Z', TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO product_stores (store_id, product_id, push_state, created_at, updated_at)
    SELECT CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        CAST(lpad(to_hex(n), 32, '0') AS UUID), CASE WHEN n / 2 % 50 = 0 THEN 'BLOCKED' ELSE 'OK' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z', TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, last_enqueued_at,
        next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(1 + n / 3 % 20000), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        'RESYNC', CASE WHEN n % 12 = 0 THEN 100 WHEN n % 12 = 1 THEN 70 ELSE 50 END,
        at, at, CASE WHEN n % 6 > 1 THEN at END, CASE WHEN n % 6 > 1 THEN 'SENT' END, at, at
    FROM generate_series(1, 60000) AS n,
        LATERAL (SELECT TIMESTAMPTZ '2024-01-01 00:00:00Z' + n * INTERVAL '1 second') AS it (at)
    ON CONFLICT DO NOTHING;
    INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, item_count,
        sent_at, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END), 32, '0') AS UUID),
        'org-1', CASE WHEN n % 80 = 0 THEN 'ACCEPTED' WHEN n % 80 = 1 THEN 'UNKNOWN' ELSE 'CONFIRMED' END,
        'hash', 1, at, at, at
    FROM generate_series(1, 40000) AS n,
        LATERAL (SELECT TIMESTAMPTZ '2023-12-01 00:00:00Z' + n * INTERVAL '1 minute') AS it (at);
    INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
        sent_quantity, state)
    SELECT CAST(lpad(to_hex(1 + n / 4), 32, '0') AS UUID), 1 + n % 4,
        CAST(lpad(to_hex(1 + n % 20000), 32, '0') AS UUID), 1, 1,
        CASE WHEN n % 50 = 0 THEN 'REJECTED' ELSE 'CONFIRMED' END
    FROM generate_series(0, 39999) AS n;
    INSERT INTO api_logs (id, organization_id, provider, type, push_id, method, url, truncated,
        is_success, duration_ms, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-1', 'TRENDYOL', 'UPDATE_STOCK',
        CAST(lpad(to_hex(1 + n / 4), 32, '0') AS UUID), 'POST', 'https://example.com/', FALSE, TRUE, 5,
        TIMESTAMPTZ '2023-12-01 00:00:00Z' + n * INTERVAL '1 minute',
        TIMESTAMPTZ '2023-12-01 00:00:00Z' + n * INTERVAL '1 minute'
    FROM generate_series(0, 39999) AS n;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, stock_push_mode, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || n % 50, 'trendyol', 'shop-' || n, 'Shop', 'token',
        'TRY', unhex(printf('%032x', n)),
        CASE WHEN n % 20 = 0 THEN 'LIVE' WHEN n % 20 = 1 THEN 'DRY_RUN' ELSE 'OFF' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n * 3600, 'unixepoch')
    FROM series;
    INSERT INTO marketplace_rate_limits (store_id, backoff_until, backoff_reason, created_at,
        updated_at)
    SELECT id, CASE WHEN rowid % 50 = 0 THEN '2024-01-01T12:10:00+00:00' END, 'AUTH', created_at,
        created_at
    FROM stores;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)), 'org-1', 'Thing ' || n, 'sku-' || n, 'barcode-' || n,
        'SIMPLE', '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO product_stores (store_id, product_id, push_state, created_at, updated_at)
    SELECT unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)),
        unhex(printf('%032x', n)), CASE WHEN n / 2 % 50 = 0 THEN 'BLOCKED' ELSE 'OK' END,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n, at) AS (
        SELECT 1, '2024-01-01T00:00:01+00:00'
        UNION ALL
        SELECT n + 1, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704067201 + n, 'unixepoch')
        FROM series WHERE n < 60000)
    INSERT OR IGNORE INTO stock_update_queue (id, product_id, store_id, reason, priority,
        last_enqueued_at, next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), unhex(printf('%032x', 1 + n / 3 % 20000)),
        unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)), 'RESYNC',
        CASE WHEN n % 12 = 0 THEN 100 WHEN n % 12 = 1 THEN 70 ELSE 50 END,
        at, at, CASE WHEN n % 6 > 1 THEN at END, CASE WHEN n % 6 > 1 THEN 'SENT' END, at, at
    FROM series;
    WITH RECURSIVE series (n, at) AS (
        SELECT 1, '2023-12-01T00:01:00+00:00'
        UNION ALL
        SELECT n + 1, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1701388860 + n * 60, 'unixepoch')
        FROM series WHERE n < 40000)
    INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, item_count,
        sent_at, created_at, updated_at)
    SELECT unhex(printf('%032x', n)),
        unhex(printf('%032x', CASE n % 2 WHEN 0 THEN 1 ELSE 2 + n / 2 % 1999 END)),
        'org-1', CASE WHEN n % 80 = 0 THEN 'ACCEPTED' WHEN n % 80 = 1 THEN 'UNKNOWN' ELSE 'CONFIRMED' END,
        'hash', 1, at, at, at
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < 39999)
    INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
        sent_quantity, state)
    SELECT unhex(printf('%032x', 1 + n / 4)), 1 + n % 4, unhex(printf('%032x', 1 + n % 20000)), 1, 1,
        CASE WHEN n % 50 = 0 THEN 'REJECTED' ELSE 'CONFIRMED' END
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < 39999)
    INSERT INTO api_logs (id, organization_id, provider, type, push_id, method, url, truncated,
        is_success, duration_ms, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-1', 'TRENDYOL', 'UPDATE_STOCK',
        unhex(printf('%032x', 1 + n / 4)), 'POST', 'https://example.com/', 0, 1, 5,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1701388800 + n * 60, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1701388800 + n * 60, 'unixepoch')
    FROM series;";
