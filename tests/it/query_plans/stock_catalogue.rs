//! Products, where they are sold, and what is enqueued of them: 20 stores of 10 organizations with
//! 3,000 products each, of which every tenth is a set of four; 60,000 rows of the queue, of which
//! every fiftieth waits.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        // However many sets a component is in, and however many stores there are.
        name: "enqueue",
        part: "pair.product_id, pair.store_id, $3, $4, $5, $6,",
        arguments: r#"STORE, '["00000000000000000000000000000001"]', 'STOCK_ADDED', 70, FALSE, NOW, '018cc251f4007', TRUE, NOW, NOW, NOW"#,
        postgres: &[
            "product_set_items_component_idx",
            "product_stores_product_id_idx",
            "stock_update_queue_pending_key",
        ],
        sqlite: &[
            "product_set_items_component_idx",
            "sqlite_autoindex_product_stores_1",
        ],
        sorts: true,
    },
    Hot {
        name: "pairs",
        part: "AS quantity, p.sku, p.barcode",
        arguments: r#"STORE, '["00000000000000000000000000000001"]'"#,
        postgres: &[
            "product_set_items_pkey",
            "product_stores_product_id_idx",
            "products_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_product_set_items_1",
            "sqlite_autoindex_product_stores_1",
            "sqlite_autoindex_products_1",
        ],
        sorts: false,
    },
    Hot {
        name: "listed_products",
        part: "(store_id, product_id) > ($1, $2) AND store_id <= $1",
        arguments: "STORE, OTHER, 200",
        postgres: &["product_stores_pkey"],
        sqlite: &["sqlite_autoindex_product_stores_1"],
        sorts: false,
    },
    Hot {
        name: "requested_resyncs",
        part: "AND (resync_enqueued_until IS NULL OR resync_enqueued_until <= $1)",
        arguments: "NOW, 100",
        postgres: &["marketplace_rate_limits_resync_idx"],
        sqlite: &["marketplace_rate_limits_resync_idx"],
        sorts: true,
    },
    Hot {
        name: "levels_of_store",
        part: "(ps.store_id, ps.product_id) > ($1, $2)",
        arguments: "STORE, OTHER, NULL, NULL, NULL, 20000, 51",
        postgres: &[
            "product_set_items_pkey",
            "product_stores_pkey",
            "product_stores_product_id_idx",
            "products_pkey",
            "stock_update_queue_pending_key",
            "stores_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_product_set_items_1",
            "sqlite_autoindex_product_stores_1",
            "sqlite_autoindex_products_1",
            "sqlite_autoindex_stores_1",
            "stock_update_queue_pending_key",
        ],
        sorts: false,
    },
    Hot {
        name: "levels_of_product",
        part: "WHERE ps.product_id = $1 AND ps.store_id > $2",
        arguments: "OTHER, STORE, 51",
        postgres: &[
            "product_set_items_pkey",
            "product_stores_product_id_idx",
            "products_pkey",
            "stock_update_queue_pending_key",
            "stores_pkey",
        ],
        sqlite: &[
            "product_stores_product_id_idx",
            "sqlite_autoindex_product_set_items_1",
            "sqlite_autoindex_product_stores_1",
            "sqlite_autoindex_products_1",
            "sqlite_autoindex_stores_1",
            "stock_update_queue_pending_key",
        ],
        sorts: false,
    },
    Hot {
        name: "products_of",
        part: "IS NULL OR product_type = $4)",
        arguments: "'org-1', NOW, OTHER, NULL, NULL, 51",
        postgres: &["products_organization_id_idx"],
        sqlite: &["products_organization_id_idx"],
        sorts: false,
    },
    Hot {
        name: "products_by_barcode",
        part: "SELECT product_id FROM product_barcodes WHERE organization_id = $1 AND barcode = $2",
        arguments: "'org-1', '8680000000001'",
        postgres: &[
            "product_barcodes_pkey",
            "products_barcode_key",
            "products_pkey",
        ],
        sqlite: &[
            "products_barcode_key",
            "sqlite_autoindex_product_barcodes_1",
            "sqlite_autoindex_products_1",
        ],
        sorts: true,
    },
    Hot {
        name: "product_by_sku",
        part: "WHERE organization_id = $1 AND sku = $2",
        arguments: "'org-1', 'SKU-1'",
        postgres: &["products_sku_key"],
        sqlite: &["products_sku_key"],
        sorts: false,
    },
    Hot {
        name: "processed_rows",
        part: "processed_at IS NOT NULL AND (created_at, id) < ($2, $3) AND created_at >= $4 AND created_at < $5 ORDER BY",
        arguments: "STORE, NOW, OTHER, '1970-01-01T00:00:00Z', NOW, 51",
        postgres: &["stock_update_queue_store_idx"],
        sqlite: &["stock_update_queue_store_idx"],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, sync_status, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), CASE WHEN n > 20 THEN 'other' ELSE 'org-' || (n % 10) END, 'trendyol', 'shop-' || n,
        'Shop', 'token', 'TRY', CAST(lpad(to_hex(n), 32, '0') AS UUID), 'pending',
        TIMESTAMPTZ '2023-01-01 12:00:00Z', TIMESTAMPTZ '2023-01-01 12:00:00Z'
    FROM generate_series(1, 2020) AS n;
    INSERT INTO marketplace_rate_limits (store_id, resync_requested_at, created_at, updated_at)
    SELECT id, CASE WHEN external_store_id = 'shop-1' THEN created_at END, created_at, updated_at
    FROM stores;
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 10), 'Product ' || n,
        'SKU-' || n, '868' || n, CASE WHEN n / 10 % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END,
        TIMESTAMPTZ '2023-01-01 12:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-01-01 12:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 30000) AS n;
    INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at, updated_at)
    SELECT organization_id, 'x' || barcode, id, created_at, updated_at FROM products;
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex((n + k * 10) % 30000 + 10), 32, '0') AS UUID), k,
        TIMESTAMPTZ '2023-01-01 12:00:00Z', TIMESTAMPTZ '2023-01-01 12:00:00Z'
    FROM generate_series(1, 30000) AS n, generate_series(1, 4) AS k
    WHERE n / 10 % 10 = 0;
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at, updated_at)
    SELECT s.id, p.id, 5, p.created_at, p.updated_at
    FROM stores AS s JOIN products AS p ON p.organization_id = s.organization_id;
    INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, last_enqueued_at,
        next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT gen_random_uuid(), product_id, store_id, 'STOCK_ADDED', 70, created_at, created_at,
        CASE WHEN n % 50 > 0 THEN created_at END, CASE WHEN n % 50 > 0 THEN 'SENT' END,
        created_at, created_at
    FROM (
        SELECT product_id, store_id, created_at,
            row_number() OVER (ORDER BY product_id, store_id) AS n
        FROM product_stores
    ) AS rows;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2020)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, sync_status, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), CASE WHEN n > 20 THEN 'other' ELSE 'org-' || (n % 10) END, 'trendyol', 'shop-' || n,
        'Shop', 'token', 'TRY', unhex(printf('%032x', n)), 'pending',
        '2023-01-01T12:00:00+00:00', '2023-01-01T12:00:00+00:00'
    FROM series;
    INSERT INTO marketplace_rate_limits (store_id, resync_requested_at, created_at, updated_at)
    SELECT id, CASE WHEN external_store_id = 'shop-1' THEN created_at END, created_at, updated_at
    FROM stores;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 30000)
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 10), 'Product ' || n, 'SKU-' || n, '868' || n,
        CASE WHEN n / 10 % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672574400 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672574400 + n, 'unixepoch')
    FROM series;
    INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at, updated_at)
    SELECT organization_id, 'x' || barcode, id, created_at, updated_at FROM products;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 30000)
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)),
        unhex(printf('%032x', (n + k.value * 10) % 30000 + 10)), k.value,
        '2023-01-01T12:00:00+00:00', '2023-01-01T12:00:00+00:00'
    FROM series, json_each('[1, 2, 3, 4]') AS k
    WHERE n / 10 % 10 = 0;
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, created_at, updated_at)
    SELECT s.id, p.id, 5, p.created_at, p.updated_at
    FROM stores AS s JOIN products AS p ON p.organization_id = s.organization_id;
    INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, last_enqueued_at,
        next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT randomblob(16), product_id, store_id, 'STOCK_ADDED', 70, created_at, created_at,
        CASE WHEN n % 50 > 0 THEN created_at END, CASE WHEN n % 50 > 0 THEN 'SENT' END,
        created_at, created_at
    FROM (
        SELECT product_id, store_id, created_at,
            row_number() OVER (ORDER BY product_id, store_id) AS n
        FROM product_stores
    ) AS rows;";
