//! What is told to marketplaces: 2,000 stores, of which 20 sell 2,000 products each; of each of
//! these pairs two rows of the queue that are done, and of every fiftieth one that waits; 20,000
//! pushes of three items with their logs, some of which are still on the way.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "due_rows",
        part: "priority >= $2 AND next_attempt_at <= $3",
        arguments: "STORE, 70, NOW, 200",
        postgres: &["stock_update_queue_claim_idx"],
        sqlite: &["stock_update_queue_claim_idx"],
        sorts: false,
    },
    Hot {
        name: "due_rows_of",
        part: "WHERE q.processed_at IS NULL AND q.next_attempt_at <= $2 ORDER BY q.priority DESC",
        arguments: "ONE, NOW",
        postgres: &["stock_update_queue_pkey"],
        sqlite: &["sqlite_autoindex_stock_update_queue_1"],
        sorts: true,
    },
    Hot {
        name: "end_rows",
        part: "next_attempt_at = COALESCE(e.next_attempt_at,",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "version": 1, "outcome": "SENT"}]', NOW"#,
        postgres: &["stock_update_queue_pkey"],
        sqlite: &["sqlite_autoindex_stock_update_queue_1"],
        sorts: false,
    },
    Hot {
        name: "requeue",
        part: "r.priority, r.force, $3, r.next_attempt_at",
        arguments: r#"STORE, '[{"id": "00000000000000000000000000000001", "product_id": "00000000000000000000000000000001", "reason": "MANUAL", "priority": 90, "force": true, "next_attempt_at": "2024-01-01T12:00:00Z"}]', NOW"#,
        postgres: &[
            "product_stores_product_id_idx",
            "stock_update_queue_pending_key",
        ],
        sqlite: &["sqlite_autoindex_product_stores_1"],
        sorts: true,
    },
    Hot {
        name: "release_held",
        part: "SET next_attempt_at = $3, updated_at = $3",
        arguments: "STORE, ONE, NOW",
        postgres: &["stock_update_queue_pending_key", "stock_update_queue_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_update_queue_1",
            "stock_update_queue_pending_key",
        ],
        sorts: false,
    },
    Hot {
        name: "mark_sending",
        part: "last_pushed_quantity = t.quantity",
        arguments: r#"STORE, '[{"product_id": "00000000000000000000000000000001", "quantity": 1}]', NOW, OTHER"#,
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "take_back",
        part: "last_pushed_quantity = t.last_pushed_quantity",
        arguments: r#"STORE, '[{"product_id": "00000000000000000000000000000001", "last_pushed_quantity": 1}]', NOW, OTHER"#,
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "end_pairs",
        part: "SET last_confirmed_quantity = t.confirmed",
        arguments: r#"STORE, '[{"product_id": "00000000000000000000000000000001", "confirmed": 1}]', NOW, OTHER"#,
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "block_unnamed",
        part: "push_error_code = $3, push_error_message = $4",
        arguments: r#"STORE, '[{"product_id": "00000000000000000000000000000001", "queue_id": "00000000000000000000000000000001", "version": 1}]', 'CODE', 'message', NOW"#,
        postgres: &["product_stores_product_id_idx", "stock_update_queue_pkey"],
        sqlite: &[
            "product_stores_product_id_idx",
            "sqlite_autoindex_stock_update_queue_1",
        ],
        sorts: false,
    },
    Hot {
        name: "observe",
        part: "SET last_confirmed_quantity = t.shown",
        arguments: r#"STORE, '[{"product_id": "00000000000000000000000000000001", "shown": 1}]', NOW"#,
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "doubt",
        part: "in_flight_push_id, $3), updated_at = $4",
        arguments: "STORE, ONE, OTHER, NOW",
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "let_go",
        part: "SET in_flight_push_id = NULL, updated_at = $4",
        arguments: "STORE, ONE, OTHER, NOW",
        postgres: &["product_stores_product_id_idx"],
        sqlite: &["product_stores_product_id_idx"],
        sorts: false,
    },
    Hot {
        name: "limits",
        part: "AS abandoned FROM marketplace_rate_limits",
        arguments: "STORE, NOW",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_pushes_outstanding_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "stock_pushes_outstanding_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "fence",
        part: "SET lease_until = $4, push_enqueued_until = $4",
        arguments: "STORE, NOW, OTHER, NOW, NOW, NULL, NULL, NULL, 0, NULL, 0, NULL, NULL, 0, NOW",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_pushes_outstanding_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "stock_pushes_outstanding_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "take_tokens",
        part: "INSERT INTO rate_buckets AS b",
        arguments: r#"'[{"key": "bucket-1", "burst": 2, "rate": 1}]', NOW"#,
        postgres: &["rate_buckets_pkey"],
        sqlite: &[],
        sorts: true,
    },
    Hot {
        name: "free_push_slot",
        part: "SET push_enqueued_until = NULL WHERE store_id = $1",
        arguments: "STORE, NOW",
        postgres: &["marketplace_rate_limits_pkey"],
        sqlite: &["sqlite_autoindex_marketplace_rate_limits_1"],
        sorts: false,
    },
    Hot {
        name: "take_lease",
        part: "SELECT id, $2, $3, $3, $4, $4 FROM stores",
        arguments: "STORE, OTHER, NOW, NOW",
        postgres: &["marketplace_rate_limits_pkey", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "release_lease",
        part: "SET lease_token = NULL, lease_until = NULL, push_enqueued_until = NULL, pending_count",
        arguments: "STORE, OTHER",
        postgres: &["marketplace_rate_limits_pkey", "stock_update_queue_due_idx"],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "stock_update_queue_due_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "insert_push",
        part: "SELECT $1, s.id, s.organization_id, $3, $4",
        arguments: "OTHER, STORE, 'SENDING', 'hash-1', NULL, 1, NOW, NOW, OTHER, NOW, 'LIVE', NOW, 5, NOW",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_pushes_body_idx",
            "stock_pushes_outstanding_idx",
            "stores_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stores_1",
            "stock_pushes_body_idx",
            "stock_pushes_outstanding_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "standing",
        part: "AS holds_lease",
        arguments: "STORE, OTHER, NOW, 'LIVE', 'hash-1', NOW",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_pushes_body_idx",
            "stores_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "sqlite_autoindex_stores_1",
            "stock_pushes_body_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "sent_bodies",
        part: "p.body_sha256 = wanted.",
        arguments: r#"STORE, '["hash-1"]', NOW"#,
        postgres: &["stock_pushes_body_idx"],
        sqlite: &["stock_pushes_body_idx"],
        sorts: false,
    },
    Hot {
        name: "insert_items",
        part: "INSERT INTO stock_push_items",
        arguments: r#"STORE, '[{"element_no": 1, "product_id": "00000000000000000000000000000001", "computed_quantity": 1, "sent_quantity": 1, "state": "SENT"}]'"#,
        postgres: &[],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "end_push",
        part: "SET state = $2, failed_item_count = $3",
        arguments: "STORE, 'ACCEPTED', 0, NULL, 200, NULL, NOW, NULL, NULL, NULL, TRUE, NOW",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "end_items",
        part: "SET state = ended.state",
        arguments: r#"STORE, '[{"element_no": 1, "state": "CONFIRMED"}]'"#,
        postgres: &["stock_push_items_pkey", "stock_pushes_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stock_pushes_1",
        ],
        sorts: false,
    },
    Hot {
        name: "end_all_items",
        part: "UPDATE stock_push_items SET state = $2 WHERE push_id = $1",
        arguments: "STORE, 'CONFIRMED'",
        postgres: &["stock_push_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_push_items_1"],
        sorts: false,
    },
    Hot {
        name: "awaited",
        part: "next_poll_at, polls FROM stock_pushes WHERE id = $1",
        arguments: "STORE",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "sent_items",
        part: "WHERE i.push_id = $1 ORDER BY i.element_no",
        arguments: "STORE, OTHER",
        postgres: &[
            "product_stores_product_id_idx",
            "stock_push_items_pkey",
            "stock_update_queue_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_product_stores_1",
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stock_update_queue_1",
        ],
        sorts: false,
    },
    Hot {
        name: "open_items",
        part: "AND i.element_no > $3 AND i.state IN",
        arguments: "STORE, OTHER, 0, 100",
        postgres: &[
            "product_stores_product_id_idx",
            "stock_push_items_pkey",
            "stock_update_queue_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_product_stores_1",
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stock_update_queue_1",
        ],
        sorts: false,
    },
    Hot {
        name: "item_states",
        part: "SELECT state, COUNT(*) FROM stock_push_items",
        arguments: "STORE",
        postgres: &["stock_push_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_push_items_1"],
        sorts: true,
    },
    Hot {
        name: "note_results",
        part: "WHERE id = $1 AND state = $2 AND polls = $3",
        arguments: "STORE, 'ACCEPTED', 0, 'CONFIRMED', 0, NOW, NULL, 1, NULL, NOW",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "due_looks",
        part: "WHERE next_poll_at <= $1 AND (enqueued_until IS NULL",
        arguments: "NOW, 100",
        postgres: &["stock_pushes_poll_idx"],
        sqlite: &["stock_pushes_poll_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_confirm_slots",
        part: "UPDATE stock_pushes SET enqueued_until = $2",
        arguments: "ONE, NOW, NOW",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "move_confirm_slots",
        part: "UPDATE stock_pushes SET enqueued_until = $3",
        arguments: "ONE, NOW, NOW",
        postgres: &["stock_pushes_pkey"],
        sqlite: &["sqlite_autoindex_stock_pushes_1"],
        sorts: false,
    },
    Hot {
        name: "abandoned_pushes",
        part: "AND state = 'SENDING' ORDER BY id LIMIT $2",
        arguments: "STORE, 10",
        postgres: &["stock_pushes_outstanding_idx"],
        sqlite: &["stock_pushes_outstanding_idx"],
        sorts: true,
    },
    Hot {
        name: "forgotten_pushes",
        part: "AND COALESCE(p.created_at < $1, TRUE)",
        arguments: "NOW, NOW, 100",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_pushes_outstanding_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "stock_pushes_outstanding_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "products_of_push",
        part: "SELECT product_id FROM stock_push_items WHERE push_id = $1",
        arguments: "STORE",
        postgres: &["stock_push_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_push_items_1"],
        sorts: true,
    },
    Hot {
        name: "close_carried_rows",
        part: "outcome = 'SENT', push_id = $1",
        arguments: "STORE, NOW",
        postgres: &["stock_push_items_pkey", "stock_update_queue_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stock_update_queue_1",
        ],
        sorts: true,
    },
    Hot {
        name: "unknown_push",
        part: "sent_at > $3 AND id <> $4",
        arguments: "STORE, 'hash-1', NOW, OTHER",
        postgres: &["stock_pushes_body_idx"],
        sqlite: &["stock_pushes_body_idx"],
        sorts: false,
    },
    Hot {
        name: "note_told",
        part: "SET told_events =",
        arguments: "STORE, 'stock.push.failed', '2024-01-01T12:00:00+00:00', NOW, NOW",
        postgres: &["marketplace_rate_limits_pkey"],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "reconciled_stores",
        part: "SELECT live.id, $3, $3, $3",
        arguments: "STORE, 100, NOW",
        postgres: &["marketplace_rate_limits_pkey", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: false,
    },
    Hot {
        name: "reconciled_products",
        part: "ps.product_id > $2 AND ps.is_listed ORDER BY",
        arguments: "STORE, OTHER, 100",
        postgres: &["product_stores_pkey"],
        sqlite: &["sqlite_autoindex_product_stores_1"],
        sorts: false,
    },
    Hot {
        name: "pending_products",
        part: "SELECT q.product_id FROM",
        arguments: "STORE, ONE",
        postgres: &["stock_update_queue_pending_key"],
        sqlite: &["stock_update_queue_pending_key"],
        sorts: false,
    },
    Hot {
        name: "set_components",
        part: "SELECT i.set_product_id, i.quantity, ps.sellable_quantity",
        arguments: "STORE, ONE",
        postgres: &["product_set_items_pkey", "product_stores_product_id_idx"],
        sqlite: &[
            "sqlite_autoindex_product_set_items_1",
            "sqlite_autoindex_product_stores_1",
        ],
        sorts: false,
    },
    Hot {
        name: "companions",
        part: "ps.last_confirmed_quantity IS NOT NULL AND COALESCE((",
        arguments: "STORE, OTHER, 100",
        postgres: &["product_stores_pkey", "stock_update_queue_pending_key"],
        sqlite: &[
            "sqlite_autoindex_product_stores_1",
            "stock_update_queue_pending_key",
        ],
        sorts: false,
    },
    Hot {
        name: "age_rows",
        part: "SET priority = 100",
        arguments: "NOW, NOW, 100",
        postgres: &["stock_update_queue_overdue_idx", "stock_update_queue_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_update_queue_1",
            "stock_update_queue_overdue_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "looks",
        part: "AS is_to_be_reconciled",
        arguments: "NOW, STORE, NOW, NOW, 500",
        postgres: &[
            "marketplace_rate_limits_pkey",
            "stock_update_queue_claim_idx",
            "stock_update_queue_due_idx",
            "stores_created_at_id_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_marketplace_rate_limits_1",
            "stock_update_queue_claim_idx",
            "stock_update_queue_due_idx",
            "stores_created_at_id_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "claim_push_slots",
        part: "SET push_enqueued_until = excluded.push_enqueued_until WHERE m.push_enqueued_until IS NULL",
        arguments: "ONE, NOW, NOW",
        postgres: &["marketplace_rate_limits_pkey", "stores_pkey"],
        sqlite: &["sqlite_autoindex_stores_1"],
        sorts: true,
    },
    Hot {
        name: "move_push_slots",
        part: "UPDATE marketplace_rate_limits SET push_enqueued_until = $3 WHERE",
        arguments: "ONE, NOW, NOW",
        postgres: &["marketplace_rate_limits_pkey"],
        sqlite: &["sqlite_autoindex_marketplace_rate_limits_1"],
        sorts: false,
    },
    Hot {
        name: "purge_rows",
        part: "DELETE FROM stock_update_queue",
        arguments: "NOW, 1000",
        postgres: &[
            "stock_update_queue_pkey",
            "stock_update_queue_processed_idx",
        ],
        sqlite: &[
            "sqlite_autoindex_stock_update_queue_1",
            "stock_update_queue_processed_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "purge_pushes",
        part: "DELETE FROM stock_pushes",
        arguments: "NOW, 1000",
        postgres: &["stock_pushes_created_at_idx", "stock_pushes_pkey"],
        sqlite: &[
            "sqlite_autoindex_stock_push_items_1",
            "sqlite_autoindex_stock_pushes_1",
            "stock_pushes_created_at_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "purge_logs",
        part: "DELETE FROM api_logs",
        arguments: "NOW, 1000",
        postgres: &["api_logs_created_at_idx", "api_logs_pkey"],
        sqlite: &["api_logs_created_at_idx", "sqlite_autoindex_api_logs_1"],
        sorts: false,
    },
    Hot {
        name: "insert_logs",
        part: "INSERT INTO api_logs",
        arguments: r#"'[{"id": "00000000000000000000000000000001", "provider": "TRENDYOL", "kind": "GET_STOCK", "method": "GET", "url": "/", "truncated": false, "is_success": true, "duration_ms": 1}]', 'org-1', STORE, NULL, NOW"#,
        postgres: &[],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "pushes",
        part: "FROM stock_pushes WHERE organization_id = $1 AND (created_at, id) <",
        arguments: "'org-1', NOW, OTHER, '1970-01-01T00:00:00Z', '00000000-0000-0000-0000-000000000000', NOW, NULL, 51",
        postgres: &["stock_pushes_organization_id_idx"],
        sqlite: &["stock_pushes_organization_id_idx"],
        sorts: false,
    },
    Hot {
        name: "pushes_of_store",
        part: "FROM stock_pushes WHERE store_id = $1 AND (created_at, id) <",
        arguments: "STORE, NOW, OTHER, '1970-01-01T00:00:00Z', '00000000-0000-0000-0000-000000000000', NOW, NULL, 51",
        postgres: &["stock_pushes_store_idx"],
        sqlite: &["stock_pushes_store_idx"],
        sorts: false,
    },
    Hot {
        name: "push_items",
        part: "WHERE push_id = $1 AND element_no > $2 AND COALESCE(",
        arguments: "STORE, 0, NULL, 101",
        postgres: &["stock_push_items_pkey"],
        sqlite: &["sqlite_autoindex_stock_push_items_1"],
        sorts: false,
    },
    Hot {
        name: "logs",
        part: "FROM api_logs WHERE organization_id = $1 AND (created_at, id) <",
        arguments: "'org-1', NOW, OTHER, '1970-01-01T00:00:00Z', '00000000-0000-0000-0000-000000000000', NOW, NULL, NULL, NULL, 51",
        postgres: &["api_logs_organization_id_idx"],
        sqlite: &["api_logs_organization_id_idx"],
        sorts: false,
    },
    Hot {
        name: "logs_of_store",
        part: "FROM api_logs WHERE store_id = $1 AND (created_at, id) <",
        arguments: "STORE, NOW, OTHER, '1970-01-01T00:00:00Z', '00000000-0000-0000-0000-000000000000', NOW, NULL, NULL, NULL, 51",
        postgres: &["api_logs_store_idx"],
        sqlite: &["api_logs_store_idx"],
        sorts: false,
    },
    Hot {
        name: "item_counts",
        part: "AND accepted_at IS NOT NULL",
        arguments: "'org-1', '2023-01-01T05:00:00Z'",
        postgres: &["stock_pushes_organization_id_idx"],
        sqlite: &["stock_pushes_organization_id_idx"],
        sorts: false,
    },
    Hot {
        name: "waiting",
        part: "SELECT q.store_id, q.priority, COUNT(*) AS pending",
        arguments: "'org-1', NOW",
        postgres: &["stock_update_queue_due_idx", "stores_identity_key"],
        sqlite: &["sqlite_autoindex_stores_3", "stock_update_queue_due_idx"],
        sorts: true,
    },
];

const SEED_POSTGRES: &str = "
    CREATE FUNCTION pg_temp.id (n BIGINT) RETURNS UUID LANGUAGE SQL
        AS $$ SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID) $$;
    CREATE FUNCTION pg_temp.at (n BIGINT) RETURNS TIMESTAMPTZ LANGUAGE SQL
        AS $$ SELECT TIMESTAMPTZ '2023-01-01 00:00:00Z' + n * INTERVAL '1 second' $$;
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, send_stock, stock_push_mode, created_at, updated_at)
    SELECT pg_temp.id(n), CASE WHEN n <= 20 THEN 'org-' || (n % 10) ELSE 'other-' || (n % 100) END,
        'trendyol', 'shop-' || n, 'Shop', 'token', 'TRY', pg_temp.id(n), TRUE, 'LIVE',
        pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 2000) AS n;
    INSERT INTO marketplace_rate_limits (store_id, reconcile_requested_at, lease_token,
        lease_until, created_at, updated_at)
    SELECT pg_temp.id(n), CASE WHEN n % 100 = 1 THEN pg_temp.at(n) END,
        CASE WHEN n < 20 THEN pg_temp.id(n) END, CASE WHEN n < 20 THEN pg_temp.at(n) END,
        pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 2000) AS n;
    INSERT INTO rate_buckets (bucket_key, tokens, refilled_at)
    SELECT 'bucket-' || n, 1, pg_temp.at(n) FROM generate_series(1, 2000) AS n;
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT pg_temp.id(n), 'org-' || (n % 10), 'Product', 's-' || n, 'b-' || n,
        CASE WHEN n / 10 % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END, pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 20000) AS n;
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT pg_temp.id(n), pg_temp.id((n + k * 10) % 20000 + 10), 1, now(), now()
    FROM generate_series(1, 20000) AS n, generate_series(1, 4) AS k
    WHERE n / 10 % 10 = 0;
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, last_confirmed_quantity,
        in_flight_push_id, push_state, created_at, updated_at)
    SELECT pg_temp.id((n - 1) % 10 + k * 10 + 1), pg_temp.id(n), 5,
        CASE WHEN n % 10 > 0 THEN 5 END, CASE WHEN n % 70 = 0 THEN pg_temp.id(n) END,
        CASE WHEN n % 200 = 1 THEN 'BLOCKED' ELSE 'OK' END, pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 20000) AS n, generate_series(0, 1) AS k;
    INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, last_enqueued_at,
        next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT pg_temp.id(n * 6 + k * 3 + i), pg_temp.id(n),
        pg_temp.id((n - 1) % 10 + k * 10 + 1), 'STOCK_ADDED', 50 + n % 5 * 10,
        pg_temp.at(n + i), pg_temp.at(n + i), CASE WHEN i < 2 THEN pg_temp.at(n + i + 60) END,
        CASE WHEN i < 2 THEN 'SENT' END, pg_temp.at(n + i), pg_temp.at(n + i)
    FROM generate_series(1, 20000) AS n, generate_series(0, 1) AS k, generate_series(0, 2) AS i
    WHERE i < 2 OR n % 50 = 1;
    INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, item_count,
        sent_at, accepted_at, next_poll_at, created_at, updated_at)
    SELECT pg_temp.id(n), pg_temp.id(n % 20 + 1), 'org-' || ((n % 20 + 1) % 10),
        CASE n % 500 WHEN 20 THEN 'SENDING' WHEN 40 THEN 'ACCEPTED' WHEN 60 THEN 'UNKNOWN'
            ELSE 'CONFIRMED' END,
        'hash-' || n, 3, pg_temp.at(n), pg_temp.at(n),
        CASE WHEN n % 500 IN (40, 60) THEN pg_temp.at(n + 60) END, pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 20000) AS n;
    INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
        sent_quantity, queue_id, queue_version, state)
    SELECT pg_temp.id(n), i, pg_temp.id((n + i) % 20000 + 1), 5, 5, pg_temp.id(n * 6 + i), 1,
        'CONFIRMED'
    FROM generate_series(1, 20000) AS n, generate_series(1, 3) AS i;
    INSERT INTO api_logs (id, organization_id, provider, type, store_id, push_id, method, url,
        truncated, is_success, duration_ms, created_at, updated_at)
    SELECT pg_temp.id(n), 'org-' || ((n % 20 + 1) % 10), 'TRENDYOL',
        CASE WHEN n % 2 = 0 THEN 'UPDATE_STOCK' ELSE 'GET_STOCK_RESULT' END,
        pg_temp.id(n % 20 + 1), pg_temp.id(n), 'POST', '/', FALSE, n % 100 > 0, 5,
        pg_temp.at(n), pg_temp.at(n)
    FROM generate_series(1, 20000) AS n;";

const SEED_SQLITE: &str = "
    CREATE TEMP TABLE series AS
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 21000)
    SELECT n, unhex(printf('%032x', n)) AS id,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1672531200 + n, 'unixepoch') AS at
    FROM series;
    CREATE UNIQUE INDEX temp.series_n_key ON series (n);
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, send_stock, stock_push_mode, created_at, updated_at)
    SELECT id, CASE WHEN n <= 20 THEN 'org-' || (n % 10) ELSE 'other-' || (n % 100) END, 'trendyol',
        'shop-' || n, 'Shop', 'token', 'TRY', id, TRUE, 'LIVE', at, at
    FROM series WHERE n <= 2000;
    INSERT INTO marketplace_rate_limits (store_id, reconcile_requested_at, lease_token,
        lease_until, created_at, updated_at)
    SELECT id, CASE WHEN n % 100 = 1 THEN at END, CASE WHEN n < 20 THEN id END,
        CASE WHEN n < 20 THEN at END, at, at
    FROM series WHERE n <= 2000;
    INSERT INTO rate_buckets (bucket_key, tokens, refilled_at)
    SELECT 'bucket-' || n, 1, at FROM series WHERE n <= 2000;
    INSERT INTO products (id, organization_id, name, sku, barcode, product_type, created_at,
        updated_at)
    SELECT id, 'org-' || (n % 10), 'Product', 's-' || n, 'b-' || n,
        CASE WHEN n / 10 % 10 = 0 THEN 'SET' ELSE 'SIMPLE' END, at, at
    FROM series WHERE n <= 20000;
    INSERT INTO product_set_items (set_product_id, component_product_id, quantity, created_at,
        updated_at)
    SELECT set_of.id, component.id, 1, set_of.at, set_of.at
    FROM series AS set_of
    CROSS JOIN json_each('[1, 2, 3, 4]') AS k
    CROSS JOIN series AS component ON component.n = (set_of.n + k.value * 10) % 20000 + 10
    WHERE set_of.n <= 20000 AND set_of.n / 10 % 10 = 0;
    INSERT INTO product_stores (store_id, product_id, sellable_quantity, last_confirmed_quantity,
        in_flight_push_id, push_state, created_at, updated_at)
    SELECT store.id, product.id, 5, CASE WHEN product.n % 10 > 0 THEN 5 END,
        CASE WHEN product.n % 70 = 0 THEN product.id END,
        CASE WHEN product.n % 200 = 1 THEN 'BLOCKED' ELSE 'OK' END, product.at, product.at
    FROM series AS product
    CROSS JOIN json_each('[0, 1]') AS k
    CROSS JOIN series AS store ON store.n = (product.n - 1) % 10 + k.value * 10 + 1
    WHERE product.n <= 20000;
    INSERT INTO stock_update_queue (id, product_id, store_id, reason, priority, last_enqueued_at,
        next_attempt_at, processed_at, outcome, created_at, updated_at)
    SELECT unhex(printf('%032x', product.n * 6 + k.value * 3 + i.value)), product.id, store.id,
        'STOCK_ADDED', 50 + product.n % 5 * 10, product.at, product.at,
        CASE WHEN i.value < 2 THEN product.at END, CASE WHEN i.value < 2 THEN 'SENT' END,
        product.at, product.at
    FROM series AS product
    CROSS JOIN json_each('[0, 1]') AS k
    CROSS JOIN json_each('[0, 1, 2]') AS i
    CROSS JOIN series AS store ON store.n = (product.n - 1) % 10 + k.value * 10 + 1
    WHERE product.n <= 20000 AND (i.value < 2 OR product.n % 50 = 1);
    INSERT INTO stock_pushes (id, store_id, organization_id, state, body_sha256, item_count,
        sent_at, accepted_at, next_poll_at, created_at, updated_at)
    SELECT id, unhex(printf('%032x', n % 20 + 1)), 'org-' || ((n % 20 + 1) % 10),
        CASE n % 500 WHEN 20 THEN 'SENDING' WHEN 40 THEN 'ACCEPTED' WHEN 60 THEN 'UNKNOWN'
            ELSE 'CONFIRMED' END,
        'hash-' || n, 3, at, at, CASE WHEN n % 500 IN (40, 60) THEN at END, at, at
    FROM series WHERE n <= 20000;
    INSERT INTO stock_push_items (push_id, element_no, product_id, computed_quantity,
        sent_quantity, queue_id, queue_version, state)
    SELECT series.id, i.value, unhex(printf('%032x', (n + i.value) % 20000 + 1)), 5, 5,
        unhex(printf('%032x', n * 6 + i.value)), 1, 'CONFIRMED'
    FROM series CROSS JOIN json_each('[1, 2, 3]') AS i
    WHERE n <= 20000;
    INSERT INTO api_logs (id, organization_id, provider, type, store_id, push_id, method, url,
        truncated, is_success, duration_ms, created_at, updated_at)
    SELECT id, 'org-' || ((n % 20 + 1) % 10), 'TRENDYOL',
        CASE WHEN n % 2 = 0 THEN 'UPDATE_STOCK' ELSE 'GET_STOCK_RESULT' END,
        unhex(printf('%032x', n % 20 + 1)), id, 'POST', '/', FALSE, n % 100 > 0, 5, at, at
    FROM series WHERE n <= 20000;
    DROP TABLE temp.series;";
