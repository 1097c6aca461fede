-- Made from the migrations by `marketplace-sync export-schema`; do not edit.

CREATE TABLE api_keys (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    -- What people call it.
    name TEXT CHECK (LENGTH(name) <= 255),
    -- The beginning of the key, to tell keys apart by.
    prefix TEXT NOT NULL CHECK (LENGTH(prefix) <= 16),
    -- SHA-256 of the key, in hexadecimal digits.
    hash TEXT NOT NULL CHECK (LENGTH(hash) = 64),
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    created_at TEXT NOT NULL,
    -- Not valid from then on; none: it does not expire.
    expires_at TEXT,
    revoked_at TEXT,
    -- To the minute.
    last_used_at TEXT,
    CONSTRAINT api_keys_hash_key UNIQUE (hash)
) STRICT;

CREATE TABLE api_logs (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    provider TEXT NOT NULL CHECK (provider IN ('ARAS_KARGO', 'TRENDYOL', 'HEPSIBURADA', 'IKAS',
        'UYUMSOFT', 'SHOPIFY', 'AMAZON', 'ETSY')),
    type TEXT NOT NULL CHECK (type IN ('SET_ORDER', 'GET_BARCODE', 'UPDATE_STATUS', 'GET_ORDER',
        'CREATE_INVOICE', 'OTHER', 'UPDATE_STOCK', 'GET_STOCK_RESULT', 'GET_STOCK')),
    store_id BLOB REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    order_ref TEXT,
    push_id BLOB,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    request_body TEXT,
    response_body TEXT,
    truncated INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    http_status INTEGER,
    is_success INTEGER NOT NULL CHECK (is_success IN (0, 1)),
    error TEXT,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    correlation_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE callback_attempts (
    id BLOB NOT NULL PRIMARY KEY,
    delivery_id BLOB NOT NULL REFERENCES callback_deliveries (id) ON DELETE CASCADE ON UPDATE CASCADE,
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    started_at TEXT NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    http_status INTEGER,
    -- What kind of failure it was, when there is no status; a word of a fixed list.
    error TEXT,
    -- The first 4 KiB of the reply.
    response TEXT
) STRICT;

CREATE TABLE callback_deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    outbox_id BLOB NOT NULL REFERENCES callback_outbox (id) ON DELETE CASCADE ON UPDATE CASCADE,
    endpoint_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    http_status INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_attempt_at TEXT,
    last_error TEXT,
    delivered_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, lease_token BLOB, lease_expires_at TEXT,
    CONSTRAINT callback_deliveries_identity_key UNIQUE (outbox_id, endpoint_id)
) STRICT;

CREATE TABLE callback_outbox (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed', 'stock.push.completed', 'stock.push.failed', 'stock.push.delayed', 'stock.push.auth_failed', 'stock.item.blocked', 'stock.oversold', 'stock.deficit', 'stock.order.unmatched')),
    payload TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'success', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    next_retry_at TEXT,
    last_error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
, enqueued_until TEXT, traceparent TEXT) STRICT;

CREATE TABLE encryption_keys (
    -- The beginning of the SHA-256 of the key.
    key_id TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    -- Of the request that runs, or ran; another one that takes over has another id.
    id BLOB NOT NULL PRIMARY KEY,
    -- Whose key it is: keys of two organizations, or of two stores, are not the same.
    scope TEXT NOT NULL,
    -- Method and path template.
    route TEXT NOT NULL,
    idempotency_key TEXT NOT NULL CHECK (LENGTH(idempotency_key) BETWEEN 1 AND 255),
    -- SHA-256 of the request.
    fingerprint TEXT NOT NULL,
    -- Until when the request counts as running; renewed while it does.
    running_until TEXT NOT NULL,
    -- The answer; none while the request runs.
    status INTEGER,
    -- A secret: it may contain some.
    answer TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    CONSTRAINT idempotency_keys_identity_key UNIQUE (scope, route, idempotency_key),
    CONSTRAINT idempotency_keys_answer_is_whole CHECK ((status IS NULL) = (answer IS NULL))
) STRICT;

CREATE TABLE marketplace_rate_limits (
    store_id BLOB NOT NULL PRIMARY KEY REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    last_sent_at TEXT,
    pending_count INTEGER NOT NULL DEFAULT 0,
    window_opens_at TEXT,
    backoff_until TEXT,
    backoff_reason TEXT,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    -- Items of the next requests, while their size is halved; successes since.
    batch_limit INTEGER,
    batch_successes INTEGER NOT NULL DEFAULT 0,
    -- The rows of a refused request of which one is bad; the next request has half of them.
    suspects TEXT,
    daily_date TEXT,
    daily_used INTEGER NOT NULL DEFAULT 0,
    lease_token BLOB,
    lease_until TEXT,
    -- The enqueue slots of its jobs.
    push_enqueued_until TEXT,
    resync_enqueued_until TEXT,
    reconcile_enqueued_until TEXT,
    -- A resync that was asked for, and behind which product it goes on.
    resync_requested_at TEXT,
    resync_only_differing INTEGER NOT NULL DEFAULT 1 CHECK (resync_only_differing IN (0, 1)),
    resync_after BLOB,
    -- The same of a reconciliation.
    reconcile_requested_at TEXT,
    reconcile_after BLOB,
    reconciled_at TEXT,
    -- When the marketplace was last found to show something else than it was told.
    drifted_at TEXT,
    sets_checked INTEGER NOT NULL DEFAULT 0,
    sets_accurate INTEGER NOT NULL DEFAULT 0,
    -- When each kind of event was last told, so that none repeats within minutes.
    told_events TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE product_barcodes (
    organization_id TEXT NOT NULL,
    barcode TEXT NOT NULL CHECK (LENGTH(barcode) BETWEEN 1 AND 255),
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (organization_id, barcode)
) STRICT;

CREATE TABLE product_set_items (
    set_product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    component_product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (set_product_id, component_product_id),
    CONSTRAINT product_set_items_no_set_in_itself CHECK (set_product_id <> component_product_id)
) STRICT;

CREATE TABLE product_stores (
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    sellable_quantity INTEGER NOT NULL DEFAULT 0 CHECK (sellable_quantity >= 0),
    committed_quantity INTEGER NOT NULL DEFAULT 0 CHECK (committed_quantity >= 0),
    is_listed INTEGER NOT NULL DEFAULT 1 CHECK (is_listed IN (0, 1)),
    external_sku TEXT CHECK (LENGTH(external_sku) BETWEEN 1 AND 255),
    external_barcode TEXT CHECK (LENGTH(external_barcode) BETWEEN 1 AND 255),
    external_listing_id TEXT CHECK (LENGTH(external_listing_id) BETWEEN 1 AND 255),
    external_location_id TEXT CHECK (LENGTH(external_location_id) BETWEEN 1 AND 255),
    -- What was sent last, and what the marketplace is known to show: nothing while it may differ.
    last_pushed_quantity INTEGER,
    last_pushed_at TEXT,
    last_confirmed_quantity INTEGER,
    last_confirmed_at TEXT,
    in_flight_push_id BLOB,
    push_state TEXT NOT NULL DEFAULT 'OK' CHECK (push_state IN ('OK', 'BLOCKED')),
    push_error_code TEXT,
    push_error_message TEXT,
    blocked_until TEXT,
    reject_count INTEGER NOT NULL DEFAULT 0 CHECK (reject_count >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (store_id, product_id)
) STRICT;

CREATE TABLE products (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    name TEXT NOT NULL CHECK (LENGTH(name) BETWEEN 1 AND 500),
    sku TEXT CHECK (LENGTH(sku) BETWEEN 1 AND 255),
    barcode TEXT CHECK (LENGTH(barcode) BETWEEN 1 AND 255),
    product_type TEXT NOT NULL CHECK (product_type IN ('SIMPLE', 'SET')),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE queue_epochs (
    queue TEXT NOT NULL PRIMARY KEY,
    epoch BLOB NOT NULL
) STRICT;

CREATE TABLE rate_buckets (
    bucket_key TEXT NOT NULL PRIMARY KEY,
    tokens REAL NOT NULL,
    refilled_at TEXT NOT NULL
) STRICT;

CREATE TABLE schedule_cursors (
    schedule TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL,
    id BLOB NOT NULL
) STRICT;

CREATE TABLE schedule_ticks (
    schedule TEXT NOT NULL,
    tick TEXT NOT NULL,
    claimed_at TEXT NOT NULL,
    PRIMARY KEY (schedule, tick)
) STRICT;

CREATE TABLE shelf_stocks (
    shelf_id BLOB NOT NULL REFERENCES shelves (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity INTEGER NOT NULL CHECK (quantity >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (shelf_id, product_id)
) STRICT;

CREATE TABLE shelves (
    id BLOB NOT NULL PRIMARY KEY,
    warehouse_id BLOB NOT NULL REFERENCES warehouses (id) ON DELETE CASCADE ON UPDATE CASCADE,
    code TEXT NOT NULL CHECK (LENGTH(code) BETWEEN 1 AND 64),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT shelves_code_key UNIQUE (warehouse_id, code)
) STRICT;

CREATE TABLE stock_movements (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('RESERVE', 'RELEASE', 'FULFIL', 'ADJUST', 'SHELF_ADD',
        'SHELF_REMOVE', 'BACKFILL')),
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id BLOB REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    shelf_id BLOB REFERENCES shelves (id) ON DELETE CASCADE ON UPDATE CASCADE,
    delta_on_hand INTEGER NOT NULL,
    delta_sellable INTEGER NOT NULL,
    delta_committed INTEGER NOT NULL,
    ref TEXT CHECK (LENGTH(ref) <= 255),
    idempotency_key TEXT CHECK (LENGTH(idempotency_key) <= 255),
    note TEXT CHECK (LENGTH(note) <= 1000),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE stock_push_items (
    push_id BLOB NOT NULL REFERENCES stock_pushes (id) ON DELETE CASCADE ON UPDATE CASCADE,
    element_no INTEGER NOT NULL CHECK (element_no >= 1),
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    -- Its names, as they were sent.
    external_sku TEXT,
    external_barcode TEXT,
    external_listing_id TEXT,
    external_location_id TEXT,
    computed_quantity INTEGER NOT NULL,
    sent_quantity INTEGER NOT NULL,
    queue_id BLOB,
    queue_version INTEGER,
    reason TEXT,
    priority INTEGER,
    state TEXT NOT NULL CHECK (state IN ('SENT', 'CONFIRMED', 'REJECTED', 'UNKNOWN', 'DRY_RUN')),
    errors TEXT,
    PRIMARY KEY (push_id, element_no)
) STRICT;

CREATE TABLE stock_pushes (
    id BLOB NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    organization_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('DRY_RUN', 'SENDING', 'ACCEPTED', 'CONFIRMED', 'PARTIAL',
        'FAILED', 'UNKNOWN', 'EXPIRED')),
    body_sha256 TEXT NOT NULL,
    -- Of a dry run: what would have been sent.
    body TEXT,
    item_count INTEGER NOT NULL CHECK (item_count >= 0),
    failed_item_count INTEGER NOT NULL DEFAULT 0 CHECK (failed_item_count >= 0),
    external_batch_id TEXT,
    http_status INTEGER,
    error TEXT,
    sent_at TEXT,
    accepted_at TEXT,
    confirmed_at TEXT,
    expires_at TEXT,
    -- When its results are asked for next; none when there is nothing to ask.
    next_poll_at TEXT,
    polls INTEGER NOT NULL DEFAULT 0 CHECK (polls >= 0),
    -- The enqueue slot of its confirmation; changing it does not move updated_at.
    enqueued_until TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE stock_reservation_items (
    reservation_id BLOB NOT NULL
        REFERENCES stock_reservations (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    reserved_quantity INTEGER NOT NULL CHECK (reserved_quantity >= 0),
    shortfall_quantity INTEGER NOT NULL CHECK (shortfall_quantity >= 0),
    -- What of it has left the house already.
    fulfilled_quantity INTEGER NOT NULL DEFAULT 0 CHECK (fulfilled_quantity >= 0),
    -- Whether its reservation is active, so that it waits for what it lacks.
    is_open INTEGER NOT NULL DEFAULT 1 CHECK (is_open IN (0, 1)),
    source_lines TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (reservation_id, product_id),
    CONSTRAINT stock_reservation_items_sum CHECK (quantity = reserved_quantity + shortfall_quantity)
) STRICT;

CREATE TABLE stock_reservations (
    id BLOB NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    order_ref TEXT NOT NULL CHECK (LENGTH(order_ref) BETWEEN 1 AND 255),
    mode TEXT NOT NULL CHECK (mode IN ('STRICT', 'ALLOW_SHORTFALL')),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'RELEASED', 'FULFILLED')),
    request_hash TEXT NOT NULL,
    -- The lines that named no product of ours, as they came.
    unmatched_lines TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT stock_reservations_order_ref_key UNIQUE (store_id, order_ref)
) STRICT;

CREATE TABLE stock_update_queue (
    id BLOB NOT NULL PRIMARY KEY,
    product_id BLOB NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    reason TEXT NOT NULL CHECK (reason IN ('ORDER_CREATED', 'ORDER_CANCELLED', 'STOCK_REMOVED',
        'STOCK_ADDED', 'SET_CHANGED', 'RESYNC', 'RECONCILE', 'MANUAL')),
    priority INTEGER NOT NULL DEFAULT 50 CHECK (priority BETWEEN 0 AND 100),
    -- Moves with every change, so that what changed while it was sent is sent again.
    version INTEGER NOT NULL DEFAULT 1,
    force INTEGER NOT NULL DEFAULT 0 CHECK (force IN (0, 1)),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_enqueued_at TEXT NOT NULL,
    next_attempt_at TEXT NOT NULL,
    processed_at TEXT,
    outcome TEXT CHECK (outcome IN ('SENT', 'NOOP_UNCHANGED', 'DRY_RUN', 'SKIPPED_STORE_DISABLED',
        'SKIPPED_NOT_LISTED', 'SKIPPED_NO_IDENTIFIER')),
    push_id BLOB,
    last_error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT stock_update_queue_outcome_is_of_a_processed_row
        CHECK ((processed_at IS NULL) = (outcome IS NULL))
) STRICT;

CREATE TABLE stores (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    marketplace TEXT NOT NULL CHECK (marketplace IN ('etsy', 'shopify', 'amazon', 'trendyol', 'hepsiburada')),
    external_store_id TEXT NOT NULL CHECK (LENGTH(external_store_id) BETWEEN 1 AND 255),
    store_name TEXT NOT NULL CHECK (LENGTH(store_name) <= 255),
    access_token TEXT NOT NULL,
    currency TEXT NOT NULL CHECK (LENGTH(currency) <= 10),
    sync_token BLOB NOT NULL,
    sync_status TEXT NOT NULL DEFAULT 'pending'
        CHECK (sync_status IN ('pending', 'success', 'partial', 'failed')),
    last_sync_at TEXT,
    imported_success_count INTEGER NOT NULL DEFAULT 0 CHECK (imported_success_count >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    -- Coordination of runs; changing these does not move updated_at.
    lease_token BLOB,
    lease_expires_at TEXT,
    enqueued_until TEXT,
    paused_until TEXT, paused_at TEXT, is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)), send_stock INTEGER NOT NULL DEFAULT 0 CHECK (send_stock IN (0, 1)), stock_push_mode TEXT NOT NULL DEFAULT 'OFF'
    CHECK (stock_push_mode IN ('OFF', 'DRY_RUN', 'LIVE')), stock_source TEXT NOT NULL DEFAULT 'DIRECT'
    CHECK (stock_source IN ('DIRECT', 'WAREHOUSE')), stock_recount_at TEXT, rate_mode TEXT
    CHECK (rate_mode IN ('IDENTICAL_BODY', 'STORE_WINDOW', 'CONCURRENCY')), listing_tier TEXT NOT NULL DEFAULT '50K'
    CHECK (listing_tier IN ('50K', '75K', '150K', '500K', 'UNLIMITED')), listing_count INTEGER CHECK (listing_count >= 0), integrator_name TEXT NOT NULL DEFAULT 'SelfIntegration'
    CHECK (LENGTH(integrator_name) BETWEEN 1 AND 255), marketplace_env TEXT NOT NULL DEFAULT 'PROD'
    CHECK (marketplace_env IN ('PROD', 'STAGE')), storefront_code TEXT CHECK (LENGTH(storefront_code) <= 64), api_key TEXT, api_secret TEXT,
    CONSTRAINT stores_sync_token_key UNIQUE (sync_token),
    CONSTRAINT stores_identity_key UNIQUE (organization_id, marketplace, external_store_id)
) STRICT;

CREATE TABLE sync_logs (
    id BLOB NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    receipt TEXT NOT NULL CHECK (LENGTH(receipt) BETWEEN 1 AND 255),
    status TEXT NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'success', 'failed', 'rate_limited')),
    order_id TEXT CHECK (LENGTH(order_id) <= 255),
    amount_minor INTEGER,
    currency TEXT CHECK (LENGTH(currency) <= 10),
    error_details TEXT,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    failed_attempt INTEGER NOT NULL DEFAULT 0 CHECK (failed_attempt >= 0),
    next_retry_at TEXT,
    -- Set when it failed for the last time: a dead letter, not tried again by itself.
    dead_at TEXT,
    imported_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT sync_logs_store_id_receipt_key UNIQUE (store_id, receipt),
    CONSTRAINT sync_logs_dead_is_failed CHECK (dead_at IS NULL OR status = 'failed')
) STRICT;

CREATE TABLE warehouse_stores (
    warehouse_id BLOB NOT NULL REFERENCES warehouses (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id BLOB NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (warehouse_id, store_id)
) STRICT;

CREATE TABLE warehouses (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    name TEXT NOT NULL CHECK (LENGTH(name) BETWEEN 1 AND 255),
    code TEXT NOT NULL CHECK (LENGTH(code) BETWEEN 1 AND 64),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT warehouses_code_key UNIQUE (organization_id, code)
) STRICT;

CREATE TABLE webhook_endpoints (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    event TEXT NOT NULL CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed', 'stock.push.completed', 'stock.push.failed', 'stock.push.delayed', 'stock.push.auth_failed', 'stock.item.blocked', 'stock.oversold', 'stock.deficit', 'stock.order.unmatched')),
    target_url TEXT NOT NULL CHECK (LENGTH(target_url) <= 2048),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL, description TEXT, is_ordered INTEGER NOT NULL DEFAULT 0 CHECK (is_ordered IN (0, 1)), consecutive_failures INTEGER NOT NULL DEFAULT 0, open_until TEXT, inactive_reason TEXT, deleted_at TEXT,
    CONSTRAINT webhook_endpoints_identity_key UNIQUE (organization_id, event, target_url)
) STRICT;

CREATE TABLE webhook_secrets (
    id BLOB NOT NULL PRIMARY KEY,
    endpoint_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE ON UPDATE CASCADE,
    secret TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Signs beside the newer ones until then; none: the current one.
    expires_at TEXT
) STRICT;

CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, created_at, id);

CREATE INDEX api_logs_created_at_idx ON api_logs (created_at, id);

CREATE INDEX api_logs_organization_id_idx ON api_logs (organization_id, created_at, id);

CREATE INDEX api_logs_push_idx ON api_logs (push_id) WHERE push_id IS NOT NULL;

CREATE INDEX api_logs_store_idx ON api_logs (store_id, created_at, id);

CREATE INDEX callback_attempts_delivery_id_idx ON callback_attempts (delivery_id, started_at, id);

CREATE INDEX callback_deliveries_due_idx
    ON callback_deliveries (endpoint_id, (COALESCE(next_attempt_at, created_at)), id)
    WHERE status = 'pending';

CREATE INDEX callback_deliveries_endpoint_id_idx ON callback_deliveries (endpoint_id, created_at, id);

CREATE INDEX callback_deliveries_failed_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_deliveries_pending_endpoint_idx
    ON callback_deliveries (endpoint_id, created_at, id)
    WHERE status = 'pending';

CREATE INDEX callback_outbox_done_idx ON callback_outbox (updated_at, id)
    WHERE status = 'success';

CREATE INDEX callback_outbox_failed_idx ON callback_outbox (created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_outbox_failed_organization_idx
    ON callback_outbox (organization_id, created_at, id)
    WHERE status = 'failed';

CREATE INDEX callback_outbox_organization_id_idx ON callback_outbox (organization_id, created_at, id);

CREATE INDEX callback_outbox_pending_idx ON callback_outbox (created_at, id)
    WHERE status = 'pending';

CREATE INDEX callback_outbox_store_id_idx ON callback_outbox (store_id, created_at, id);

CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at, id);

CREATE INDEX marketplace_rate_limits_reconcile_idx
    ON marketplace_rate_limits (reconcile_requested_at)
    WHERE reconcile_requested_at IS NOT NULL;

CREATE INDEX marketplace_rate_limits_resync_idx ON marketplace_rate_limits (resync_requested_at)
    WHERE resync_requested_at IS NOT NULL;

CREATE INDEX product_barcodes_product_id_idx ON product_barcodes (product_id);

CREATE INDEX product_set_items_component_idx
    ON product_set_items (component_product_id, set_product_id);

CREATE INDEX product_stores_blocked_idx ON product_stores (store_id, product_id)
    WHERE push_state = 'BLOCKED';

CREATE INDEX product_stores_external_barcode_idx ON product_stores (store_id, external_barcode)
    WHERE external_barcode IS NOT NULL;

CREATE INDEX product_stores_external_sku_idx ON product_stores (store_id, external_sku)
    WHERE external_sku IS NOT NULL;

CREATE INDEX product_stores_in_flight_idx ON product_stores (in_flight_push_id)
    WHERE in_flight_push_id IS NOT NULL;

CREATE INDEX product_stores_product_id_idx ON product_stores (product_id, store_id);

CREATE UNIQUE INDEX products_barcode_key ON products (organization_id, barcode)
    WHERE barcode IS NOT NULL;

CREATE INDEX products_organization_id_idx ON products (organization_id, created_at, id);

CREATE UNIQUE INDEX products_sku_key ON products (organization_id, sku) WHERE sku IS NOT NULL;

CREATE INDEX schedule_ticks_tick_idx ON schedule_ticks (tick);

CREATE INDEX shelf_stocks_product_id_idx ON shelf_stocks (product_id, shelf_id);

CREATE INDEX shelves_warehouse_id_idx ON shelves (warehouse_id, created_at, id);

CREATE UNIQUE INDEX stock_movements_idempotency_key
    ON stock_movements (organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE INDEX stock_movements_product_idx ON stock_movements (product_id, created_at, id);

CREATE INDEX stock_pushes_body_idx ON stock_pushes (store_id, body_sha256, sent_at)
    WHERE sent_at IS NOT NULL;

CREATE INDEX stock_pushes_created_at_idx ON stock_pushes (created_at, id);

CREATE INDEX stock_pushes_organization_id_idx
    ON stock_pushes (organization_id, created_at, id);

CREATE INDEX stock_pushes_outstanding_idx ON stock_pushes (store_id, state)
    WHERE state IN ('SENDING', 'ACCEPTED', 'UNKNOWN');

CREATE INDEX stock_pushes_poll_idx ON stock_pushes (next_poll_at, id)
    WHERE next_poll_at IS NOT NULL;

CREATE INDEX stock_pushes_store_idx ON stock_pushes (store_id, created_at, id);

CREATE INDEX stock_reservation_items_shortfall_idx
    ON stock_reservation_items (product_id, created_at, reservation_id)
    WHERE shortfall_quantity > 0 AND is_open;

CREATE INDEX stock_reservations_store_idx ON stock_reservations (store_id, created_at, id);

CREATE INDEX stock_update_queue_claim_idx
    ON stock_update_queue (store_id, priority DESC, created_at, id, next_attempt_at)
    WHERE processed_at IS NULL;

CREATE INDEX stock_update_queue_due_idx ON stock_update_queue (store_id, next_attempt_at)
    WHERE processed_at IS NULL;

CREATE INDEX stock_update_queue_overdue_idx ON stock_update_queue (created_at, id)
    WHERE processed_at IS NULL AND priority < 100;

CREATE UNIQUE INDEX stock_update_queue_pending_key ON stock_update_queue (product_id, store_id)
    WHERE processed_at IS NULL;

CREATE INDEX stock_update_queue_processed_idx ON stock_update_queue (processed_at, id)
    WHERE processed_at IS NOT NULL;

CREATE INDEX stock_update_queue_store_idx ON stock_update_queue (store_id, created_at, id);

CREATE INDEX stores_created_at_id_idx ON stores (created_at, id);

CREATE INDEX stores_lease_idx ON stores (lease_expires_at) WHERE lease_expires_at IS NOT NULL;

CREATE INDEX stores_paused_idx ON stores (created_at, id)
    WHERE paused_at IS NOT NULL;

CREATE INDEX stores_stock_push_idx ON stores (created_at, id) WHERE stock_push_mode <> 'OFF';

CREATE INDEX stores_stock_recount_idx ON stores (organization_id, id)
    WHERE stock_recount_at IS NOT NULL;

CREATE INDEX stores_sync_status_idx ON stores (sync_status, created_at, id);

CREATE INDEX sync_logs_batch_idx
    ON sync_logs (store_id, created_at, id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;

CREATE INDEX sync_logs_dead_idx ON sync_logs (dead_at, id)
    WHERE dead_at IS NOT NULL;

CREATE INDEX sync_logs_dead_store_idx ON sync_logs (store_id, dead_at, id)
    WHERE dead_at IS NOT NULL;

CREATE INDEX sync_logs_due_idx ON sync_logs (store_id, (COALESCE(next_retry_at, created_at)))
    WHERE status <> 'success' AND dead_at IS NULL;

CREATE INDEX sync_logs_rate_limited_idx ON sync_logs (store_id)
    WHERE status = 'rate_limited';

CREATE INDEX sync_logs_window_idx ON sync_logs (store_id, created_at DESC, id DESC, status)
    WHERE status <> 'pending';

CREATE INDEX warehouse_stores_store_id_idx ON warehouse_stores (store_id, warehouse_id);

CREATE INDEX warehouses_organization_id_idx ON warehouses (organization_id, created_at, id);

CREATE INDEX webhook_endpoints_inactive_idx ON webhook_endpoints (id)
    WHERE NOT is_active;

CREATE INDEX webhook_endpoints_open_idx ON webhook_endpoints (open_until, id)
    WHERE open_until IS NOT NULL;

CREATE INDEX webhook_secrets_endpoint_id_idx ON webhook_secrets (endpoint_id, created_at, id);
