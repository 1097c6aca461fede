//! What is told to marketplaces: 2,000 stores, of which 20 sell 2,000 products each; of each of
//! these pairs two rows of the queue that are done, and of every fiftieth one that waits; 20,000
//! pushes of three items with their logs, some of which are still on the way.

pub(super) const SEED_POSTGRES: &str = "
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

pub(super) const SEED_SQLITE: &str = "
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
