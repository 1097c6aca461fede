//! Stock that moves: 20,000 products, each in five of fifty stores, on shelves of ten warehouses; a
//! set in ten; 50,000 orders of two products, one in a hundred of which waits.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "source_of",
        part: "SELECT stock_source FROM stores WHERE id = $1 AND organization_id = $2",
        arguments: "STORE, 'org-1'",
        postgres: &["stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "links",
        part: "SELECT s.id, ws.warehouse_id FROM stores AS s",
        arguments: "'org-1'",
        postgres: &["stores_identity_key", "warehouse_stores_store_id_idx"],
        sqlite: &["sqlite_autoindex_stores_3", "warehouse_stores_store_id_idx"],
        sorts: false,
    },
    Hot {
        name: "matched_lines",
        part: "SELECT m.number, p.id AS product_id, p.product_type",
        arguments: r#"'[{"number": 0, "barcode": "b-7"}]', 'org-1', STORE"#,
        postgres: &[
            "product_barcodes_pkey",
            "product_set_items_pkey",
            "product_stores_external_barcode_idx",
            "product_stores_external_sku_idx",
            "products_barcode_key",
            "products_pkey",
            "products_sku_key",
        ],
        sqlite: &[
            "product_stores_external_barcode_idx",
            "product_stores_external_sku_idx",
            "products_barcode_key",
            "products_sku_key",
            "sqlite_autoindex_product_barcodes_1",
            "sqlite_autoindex_product_set_items_1",
            "sqlite_autoindex_products_1",
        ],
        sorts: true,
    },
    Hot {
        name: "reservation",
        part: "SELECT id, store_id, order_ref, mode, status, request_hash, unmatched_lines, created_at, updated_at FROM stock_reservations WHERE store_id = $1 AND order_ref = $2$",
        arguments: "STORE, 'o-1'",
        postgres: &["stock_reservations_order_ref_key"],
        sqlite: &["sqlite_autoindex_stock_reservations_2"],
        sorts: false,
    },
    Hot {
        name: "items",
        part: "source_lines FROM stock_reservation_items WHERE reservation_id = $1",
        arguments: "STORE",
        postgres: &["stock_reservation_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_reservation_items_1"],
        sorts: false,
    },
    Hot {
        name: "lock_orders_at",
        part: "JOIN stock_reservations AS r ON r.store_id = s.id AND r.order_ref = $2",
        arguments: "STORE, 'o-1', NULL",
        postgres: &[
            "stock_reservations_order_ref_key",
            "stores_pkey",
            "warehouse_stores_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_stock_reservations_2",
            "sqlite_autoindex_stores_1",
            "sqlite_autoindex_warehouse_stores_1",
        ],
        sorts: true,
    },
    Hot {
        name: "make_rows",
        part: "INSERT INTO product_stores (product_id, store_id, is_listed, created_at, updated_at) SELECT",
        arguments: "ONE, ONE, NOW",
        postgres: &["product_stores_pkey"],
        sqlite: &[],
        sorts: true,
    },
    Hot {
        name: "lock_rows",
        part: "SELECT product_id, store_id, sellable_quantity, committed_quantity FROM product_stores",
        arguments: "ONE, ONE",
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: true,
    },
    Hot {
        name: "on_hand",
        part: "CAST(SUM(ss.quantity) AS BIGINT) AS quantity",
        arguments: "ONE, ONE",
        postgres: &["shelf_stocks_product_id_idx", "shelves_pkey"],
        sqlite: &["shelf_stocks_product_id_idx", "sqlite_autoindex_shelves_1"],
        sorts: true,
    },
    Hot {
        name: "committed",
        part: "SELECT product_id, store_id, committed_quantity FROM product_stores",
        arguments: "ONE, ONE",
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "move_counters",
        part: "+ d.committed, updated_at = $2",
        arguments: r#"'[{"product_id": "00000000000000000000000000000001", "store_id": "00000000000000000000000000000002", "sellable": 1, "committed": 0}]', NOW"#,
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "shortfalls",
        part: "SELECT i.reservation_id, i.product_id, r.store_id, r.order_ref",
        arguments: "ONE, ONE, NOW, STORE, STORE, 1000",
        postgres: &[
            "stock_reservation_items_shortfall_idx",
            "stock_reservations_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_stock_reservations_1",
            "stock_reservation_items_shortfall_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "waiting_products",
        part: "SELECT DISTINCT i.product_id FROM stock_reservation_items AS i",
        arguments: "ONE, STORE",
        postgres: &[
            "stock_reservation_items_shortfall_idx",
            "stock_reservations_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_stock_reservations_1",
            "stock_reservation_items_shortfall_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "fill",
        part: "- f.quantity, updated_at = $2",
        arguments: r#"'[{"reservation_id": "00000000000000000000000000000001", "product_id": "00000000000000000000000000000002", "quantity": 1}]', NOW"#,
        postgres: &["stock_reservation_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_reservation_items_1"],
        sorts: false,
    },
    Hot {
        name: "close_reservation",
        part: "UPDATE stock_reservations SET status = $2",
        arguments: "STORE, 'RELEASED', NOW",
        postgres: &["stock_reservations_pkey"],
        sqlite: &["sqlite_autoindex_stock_reservations_1"],
        sorts: false,
    },
    Hot {
        name: "close_items",
        part: "SET is_open = FALSE",
        arguments: "STORE, 'RELEASED', NOW",
        postgres: &["stock_reservation_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_reservation_items_1"],
        sorts: false,
    },
    Hot {
        name: "fulfil_item",
        part: "SET fulfilled_quantity = fulfilled_quantity + $3",
        arguments: "STORE, OTHER, 1, NOW",
        postgres: &["stock_reservation_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_reservation_items_1"],
        sorts: false,
    },
    Hot {
        name: "insert_movements",
        part: "INSERT INTO stock_movements",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "kind": "ADJUST"}]', 'org-1', NOW"#,
        postgres: &[],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "shortfall_units",
        part: "SELECT CAST(COALESCE(SUM(i.shortfall_quantity), 0) AS BIGINT)",
        arguments: "'org-1'",
        postgres: &[
            "stock_reservation_items_shortfall_idx",
            "stock_reservations_pkey",
            "stores_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_stock_reservations_1",
            "sqlite_autoindex_stores_1",
            "stock_reservation_items_shortfall_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "where_they_lie",
        part: "SELECT ss.product_id, ss.shelf_id, sh.warehouse_id, ss.quantity",
        arguments: "ONE, ONE",
        postgres: &["shelf_stocks_product_id_idx", "shelves_pkey"],
        sqlite: &["shelf_stocks_product_id_idx", "sqlite_autoindex_shelves_1"],
        sorts: true,
    },
    Hot {
        name: "take_all",
        part: "- p.quantity, updated_at = $2",
        arguments: r#"'[{"product_id": "00000000000000000000000000000001", "shelf_id": "00000000000000000000000000000002", "quantity": 1}]', NOW"#,
        postgres: &["shelf_stocks_product_id_idx"],
        sqlite: &["shelf_stocks_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "products_of",
        part: "SELECT product_id FROM product_stores WHERE store_id = $1 AND product_id > $2 ORDER",
        arguments: "STORE, STORE, 500",
        postgres: &["product_stores_pkey"],
        sqlite: &["sqlite_autoindex_product_stores_1"],
        sorts: false,
    },
    Hot {
        name: "marked_stores",
        part: "SELECT id, stock_recount_at FROM stores",
        arguments: "'org-1'",
        postgres: &["stores_stock_recount_idx"],
        sqlite: &["stores_stock_recount_idx"],
        sorts: false,
    },
    Hot {
        name: "marked_organizations",
        part: "SELECT DISTINCT organization_id FROM stores WHERE stock_recount_at IS NOT NULL$",
        arguments: "",
        postgres: &["stores_stock_recount_idx"],
        sqlite: &["stores_stock_recount_idx"],
        sorts: false,
    },
    Hot {
        name: "shelves",
        part: "FROM shelves WHERE warehouse_id = $1 AND (created_at, id) > ($2, $3)",
        arguments: "STORE, NOW, STORE, 50",
        postgres: &["shelves_warehouse_id_idx"],
        sqlite: &["shelves_warehouse_id_idx"],
        sorts: false,
    },
    Hot {
        name: "warehouses",
        part: "FROM warehouses WHERE organization_id = $1 AND (created_at, id) > ($2, $3)",
        arguments: "'org-1', NOW, STORE, 50",
        postgres: &["warehouses_organization_id_idx"],
        sqlite: &["warehouses_organization_id_idx"],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    CREATE FUNCTION pg_temp.id (n BIGINT) RETURNS UUID LANGUAGE SQL
        AS $$ SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID) $$;
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, stock_source, created_at, updated_at)
    SELECT pg_temp.id(n), 'org-' || (n % 50), 'trendyol', 'shop-' || n, 'Shop', 'token', 'TRY',
        pg_temp.id(n + 1000000), CASE WHEN n % 2 = 0 THEN 'DIRECT' ELSE 'WAREHOUSE' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z', TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 2000) AS n;
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT pg_temp.id(n), 'org-' || (n % 50), 'Product', 's-' || n, 'b-' || n,
        CASE WHEN n % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END,
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 20000) AS n;
    INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at, updated_at)
    SELECT organization_id, 'further-' || barcode, id, created_at, updated_at FROM products;
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT pg_temp.id(n), pg_temp.id(n + i), 1, now(), now()
    FROM generate_series(10, 19990, 10) AS n, generate_series(1, 3) AS i;
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, committed_quantity,
        external_barcode, external_sku, created_at, updated_at)
    SELECT pg_temp.id((n % 50 + 50 * i) % 2000 + 1), pg_temp.id(n), 10, n % 3,
        CASE WHEN n % 4 = 0 THEN 'e-' || n END, CASE WHEN n % 4 = 1 THEN 'es-' || n END,
        now(), now()
    FROM generate_series(1, 20000) AS n, generate_series(1, 5) AS i;
    INSERT INTO warehouses (id, organization_id, name, code, created_at, updated_at)
    SELECT pg_temp.id(n), 'org-' || (n % 50), 'House', 'w-' || n,
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second', now()
    FROM generate_series(1, 500) AS n;
    INSERT INTO warehouse_stores (warehouse_id, store_id, created_at, updated_at)
    SELECT pg_temp.id(n % 500 + 1), pg_temp.id(n), now(), now()
    FROM generate_series(1, 2000) AS n;
    INSERT INTO shelves (id, warehouse_id, code, created_at, updated_at)
    SELECT pg_temp.id(n), pg_temp.id(n % 500 + 1), 's-' || n,
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second', now()
    FROM generate_series(1, 10000) AS n;
    INSERT INTO shelf_stocks (shelf_id, product_id, quantity, created_at, updated_at)
    SELECT pg_temp.id((n * 3 + i) % 10000 + 1), pg_temp.id(n), 5, now(), now()
    FROM generate_series(1, 20000) AS n, generate_series(1, 3) AS i;
    INSERT INTO stock_reservations (id, store_id, order_ref, mode, status, request_hash,
        unmatched_lines, created_at, updated_at)
    SELECT pg_temp.id(n), pg_temp.id(n % 2000 + 1), 'o-' || n, 'STRICT',
        CASE WHEN n % 20 = 0 THEN 'ACTIVE' ELSE 'FULFILLED' END, 'hash', '[]',
        TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second', now()
    FROM generate_series(1, 50000) AS n;
    INSERT INTO stock_reservation_items (reservation_id, product_id, quantity, reserved_quantity,
        shortfall_quantity, is_open, source_lines, created_at, updated_at)
    SELECT pg_temp.id(n), pg_temp.id((n + i) % 20000 + 1), 2,
        CASE WHEN n % 100 = 0 THEN 1 ELSE 2 END, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END,
        n % 20 = 0, '[]', TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second', now()
    FROM generate_series(1, 50000) AS n, generate_series(1, 2) AS i;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, stock_source, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'trendyol', 'shop-' || n, 'Shop', 'token',
        'TRY', unhex(printf('%032x', n + 1000000)),
        CASE WHEN n % 2 = 0 THEN 'DIRECT' ELSE 'WAREHOUSE' END,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'Product', 's-' || n, 'b-' || n,
        CASE WHEN n % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch'),
        '2023-01-01T00:00:00+00:00'
    FROM series;
    INSERT INTO product_barcodes (organization_id, barcode, product_id, created_at, updated_at)
    SELECT organization_id, 'further-' || barcode, id, created_at, updated_at FROM products;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 1999)
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n * 10)), unhex(printf('%032x', n * 10 + value)), 1,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series, json_each('[1, 2, 3]');
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, committed_quantity,
        external_barcode, external_sku, created_at, updated_at)
    SELECT unhex(printf('%032x', (n % 50 + 50 * value) % 2000 + 1)), unhex(printf('%032x', n)),
        10, n % 3, CASE WHEN n % 4 = 0 THEN 'e-' || n END,
        CASE WHEN n % 4 = 1 THEN 'es-' || n END,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series, json_each('[1, 2, 3, 4, 5]');
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 500)
    INSERT INTO warehouses (id, organization_id, name, code, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 50), 'House', 'w-' || n,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch'),
        '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 2000)
    INSERT INTO warehouse_stores (warehouse_id, store_id, created_at, updated_at)
    SELECT unhex(printf('%032x', n % 500 + 1)), unhex(printf('%032x', n)),
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 10000)
    INSERT INTO shelves (id, warehouse_id, code, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), unhex(printf('%032x', n % 500 + 1)), 's-' || n,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch'),
        '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO shelf_stocks (shelf_id, product_id, quantity, created_at, updated_at)
    SELECT unhex(printf('%032x', (n * 3 + value) % 10000 + 1)), unhex(printf('%032x', n)), 5,
        '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series, json_each('[1, 2, 3]');
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 50000)
    INSERT INTO stock_reservations (id, store_id, order_ref, mode, status, request_hash,
        unmatched_lines, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), unhex(printf('%032x', n % 2000 + 1)), 'o-' || n, 'STRICT',
        CASE WHEN n % 20 = 0 THEN 'ACTIVE' ELSE 'FULFILLED' END, 'hash', '[]',
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch'),
        '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 50000)
    INSERT INTO stock_reservation_items (reservation_id, product_id, quantity, reserved_quantity,
        shortfall_quantity, is_open, source_lines, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), unhex(printf('%032x', (n + value) % 20000 + 1)), 2,
        CASE WHEN n % 100 = 0 THEN 1 ELSE 2 END, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END,
        n % 20 = 0, '[]', strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch'),
        '2023-01-01T00:00:00+00:00'
    FROM series, json_each('[1, 2]');";
