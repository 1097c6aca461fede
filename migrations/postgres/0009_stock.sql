-- Stock: what can be sold where, what is reserved, and what marketplaces have still to be told.
-- The SQLite file of the same name says the same; keep the two in step.

ALTER TABLE stores DROP CONSTRAINT stores_marketplace_check;
ALTER TABLE stores ADD CONSTRAINT stores_marketplace_check
    CHECK (marketplace IN ('etsy', 'shopify', 'amazon', 'trendyol', 'hepsiburada'));
ALTER TABLE webhook_endpoints DROP CONSTRAINT webhook_endpoints_event_check;
ALTER TABLE webhook_endpoints ADD CONSTRAINT webhook_endpoints_event_check
    CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed', 'stock.push.completed',
        'stock.push.failed', 'stock.push.delayed', 'stock.push.auth_failed', 'stock.item.blocked',
        'stock.oversold', 'stock.deficit', 'stock.order.unmatched'));
ALTER TABLE callback_outbox DROP CONSTRAINT callback_outbox_event_check;
ALTER TABLE callback_outbox ADD CONSTRAINT callback_outbox_event_check
    CHECK (event IN ('sync.started', 'sync.completed', 'sync.failed', 'stock.push.completed',
        'stock.push.failed', 'stock.push.delayed', 'stock.push.auth_failed', 'stock.item.blocked',
        'stock.oversold', 'stock.deficit', 'stock.order.unmatched'));

-- What a store sells is pushed to its marketplace while it is live: active, sending, LIVE.
ALTER TABLE stores ADD COLUMN is_active BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE stores ADD COLUMN send_stock BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE stores ADD COLUMN stock_push_mode TEXT NOT NULL DEFAULT 'OFF'
    CHECK (stock_push_mode IN ('OFF', 'DRY_RUN', 'LIVE'));
-- Whether its quantities are its own, or come from the shelves of its warehouses.
ALTER TABLE stores ADD COLUMN stock_source TEXT NOT NULL DEFAULT 'DIRECT'
    CHECK (stock_source IN ('DIRECT', 'WAREHOUSE'));
-- Since when its quantities have to be worked out anew: its warehouses are others than before.
ALTER TABLE stores ADD COLUMN stock_recount_at TIMESTAMPTZ;
CREATE INDEX stores_stock_recount_idx ON stores (organization_id, id)
    WHERE stock_recount_at IS NOT NULL;
-- None: the default of its marketplace.
ALTER TABLE stores ADD COLUMN rate_mode TEXT
    CHECK (rate_mode IN ('IDENTICAL_BODY', 'STORE_WINDOW', 'CONCURRENCY'));
ALTER TABLE stores ADD COLUMN listing_tier TEXT NOT NULL DEFAULT '50K'
    CHECK (listing_tier IN ('50K', '75K', '150K', '500K', 'UNLIMITED'));
ALTER TABLE stores ADD COLUMN listing_count BIGINT CHECK (listing_count >= 0);
ALTER TABLE stores ADD COLUMN integrator_name TEXT NOT NULL DEFAULT 'SelfIntegration'
    CHECK (LENGTH(integrator_name) BETWEEN 1 AND 255);
ALTER TABLE stores ADD COLUMN marketplace_env TEXT NOT NULL DEFAULT 'PROD'
    CHECK (marketplace_env IN ('PROD', 'STAGE'));
ALTER TABLE stores ADD COLUMN storefront_code TEXT CHECK (LENGTH(storefront_code) <= 64);
-- Credentials of the stock API, encrypted like access tokens.
ALTER TABLE stores ADD COLUMN api_key TEXT;
ALTER TABLE stores ADD COLUMN api_secret TEXT;

CREATE TABLE products (
    id UUID PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    name TEXT NOT NULL CHECK (LENGTH(name) BETWEEN 1 AND 500),
    sku TEXT CHECK (LENGTH(sku) BETWEEN 1 AND 255),
    barcode TEXT CHECK (LENGTH(barcode) BETWEEN 1 AND 255),
    product_type TEXT NOT NULL CHECK (product_type IN ('SIMPLE', 'SET')),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX products_barcode_key ON products (organization_id, barcode)
    WHERE barcode IS NOT NULL;
CREATE UNIQUE INDEX products_sku_key ON products (organization_id, sku) WHERE sku IS NOT NULL;
CREATE INDEX products_organization_id_idx ON products (organization_id, created_at, id);

-- Further codes that orders may name a product by; never sent.
CREATE TABLE product_barcodes (
    organization_id TEXT NOT NULL,
    barcode TEXT NOT NULL CHECK (LENGTH(barcode) BETWEEN 1 AND 255),
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (organization_id, barcode)
);
CREATE INDEX product_barcodes_product_id_idx ON product_barcodes (product_id);

CREATE TABLE product_set_items (
    set_product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    component_product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (set_product_id, component_product_id),
    CONSTRAINT product_set_items_no_set_in_itself CHECK (set_product_id <> component_product_id)
);
CREATE INDEX product_set_items_component_idx
    ON product_set_items (component_product_id, set_product_id);

-- A product in a store: its counters, its names there, and what the marketplace was told.
CREATE TABLE product_stores (
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    sellable_quantity BIGINT NOT NULL DEFAULT 0 CHECK (sellable_quantity >= 0),
    committed_quantity BIGINT NOT NULL DEFAULT 0 CHECK (committed_quantity >= 0),
    is_listed BOOLEAN NOT NULL DEFAULT TRUE,
    external_sku TEXT CHECK (LENGTH(external_sku) BETWEEN 1 AND 255),
    external_barcode TEXT CHECK (LENGTH(external_barcode) BETWEEN 1 AND 255),
    external_listing_id TEXT CHECK (LENGTH(external_listing_id) BETWEEN 1 AND 255),
    external_location_id TEXT CHECK (LENGTH(external_location_id) BETWEEN 1 AND 255),
    -- What was sent last, and what the marketplace is known to show: nothing while it may differ.
    last_pushed_quantity BIGINT,
    last_pushed_at TIMESTAMPTZ,
    last_confirmed_quantity BIGINT,
    last_confirmed_at TIMESTAMPTZ,
    in_flight_push_id UUID,
    push_state TEXT NOT NULL DEFAULT 'OK' CHECK (push_state IN ('OK', 'BLOCKED')),
    push_error_code TEXT,
    push_error_message TEXT,
    blocked_until TIMESTAMPTZ,
    reject_count INTEGER NOT NULL DEFAULT 0 CHECK (reject_count >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (store_id, product_id)
);
CREATE INDEX product_stores_product_id_idx ON product_stores (product_id, store_id);
CREATE INDEX product_stores_external_barcode_idx ON product_stores (store_id, external_barcode)
    WHERE external_barcode IS NOT NULL;
CREATE INDEX product_stores_external_sku_idx ON product_stores (store_id, external_sku)
    WHERE external_sku IS NOT NULL;
CREATE INDEX product_stores_blocked_idx ON product_stores (store_id, product_id)
    WHERE push_state = 'BLOCKED';
CREATE INDEX product_stores_in_flight_idx ON product_stores (in_flight_push_id)
    WHERE in_flight_push_id IS NOT NULL;

-- What a marketplace has to be told: one pending row a pair, the newest quantity wins.
CREATE TABLE stock_update_queue (
    id UUID PRIMARY KEY,
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    reason TEXT NOT NULL CHECK (reason IN ('ORDER_CREATED', 'ORDER_CANCELLED', 'STOCK_REMOVED',
        'STOCK_ADDED', 'SET_CHANGED', 'RESYNC', 'RECONCILE', 'MANUAL')),
    priority INTEGER NOT NULL DEFAULT 50 CHECK (priority BETWEEN 0 AND 100),
    -- Moves with every change, so that what changed while it was sent is sent again.
    version BIGINT NOT NULL DEFAULT 1,
    force BOOLEAN NOT NULL DEFAULT FALSE,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_enqueued_at TIMESTAMPTZ NOT NULL,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    processed_at TIMESTAMPTZ,
    outcome TEXT CHECK (outcome IN ('SENT', 'NOOP_UNCHANGED', 'DRY_RUN', 'SKIPPED_STORE_DISABLED',
        'SKIPPED_NOT_LISTED', 'SKIPPED_NO_IDENTIFIER')),
    push_id UUID,
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT stock_update_queue_outcome_is_of_a_processed_row
        CHECK ((processed_at IS NULL) = (outcome IS NULL))
);
CREATE UNIQUE INDEX stock_update_queue_pending_key ON stock_update_queue (product_id, store_id)
    WHERE processed_at IS NULL;
-- The next batch of a store; rows that are not due yet are passed over in the index.
CREATE INDEX stock_update_queue_claim_idx
    ON stock_update_queue (store_id, priority DESC, created_at, id, next_attempt_at)
    WHERE processed_at IS NULL;
-- Since when is something of this store due?
CREATE INDEX stock_update_queue_due_idx ON stock_update_queue (store_id, next_attempt_at)
    WHERE processed_at IS NULL;
-- What has waited for too long, the oldest first.
CREATE INDEX stock_update_queue_overdue_idx ON stock_update_queue (created_at, id)
    WHERE processed_at IS NULL AND priority < 100;
CREATE INDEX stock_update_queue_store_idx ON stock_update_queue (store_id, created_at, id);
CREATE INDEX stock_update_queue_processed_idx ON stock_update_queue (processed_at, id)
    WHERE processed_at IS NOT NULL;

CREATE TABLE warehouses (
    id UUID PRIMARY KEY,
    organization_id TEXT NOT NULL CHECK (LENGTH(organization_id) BETWEEN 1 AND 255),
    name TEXT NOT NULL CHECK (LENGTH(name) BETWEEN 1 AND 255),
    code TEXT NOT NULL CHECK (LENGTH(code) BETWEEN 1 AND 64),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT warehouses_code_key UNIQUE (organization_id, code)
);
CREATE INDEX warehouses_organization_id_idx ON warehouses (organization_id, created_at, id);

CREATE TABLE warehouse_stores (
    warehouse_id UUID NOT NULL REFERENCES warehouses (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (warehouse_id, store_id)
);
CREATE INDEX warehouse_stores_store_id_idx ON warehouse_stores (store_id, warehouse_id);

CREATE TABLE shelves (
    id UUID PRIMARY KEY,
    warehouse_id UUID NOT NULL REFERENCES warehouses (id) ON DELETE CASCADE ON UPDATE CASCADE,
    code TEXT NOT NULL CHECK (LENGTH(code) BETWEEN 1 AND 64),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT shelves_code_key UNIQUE (warehouse_id, code)
);
CREATE INDEX shelves_warehouse_id_idx ON shelves (warehouse_id, created_at, id);

CREATE TABLE shelf_stocks (
    shelf_id UUID NOT NULL REFERENCES shelves (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity BIGINT NOT NULL CHECK (quantity >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (shelf_id, product_id)
);
CREATE INDEX shelf_stocks_product_id_idx ON shelf_stocks (product_id, shelf_id);

-- What an order took, so that exactly that is given back.
CREATE TABLE stock_reservations (
    id UUID PRIMARY KEY,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    order_ref TEXT NOT NULL CHECK (LENGTH(order_ref) BETWEEN 1 AND 255),
    mode TEXT NOT NULL CHECK (mode IN ('STRICT', 'ALLOW_SHORTFALL')),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'RELEASED', 'FULFILLED')),
    request_hash TEXT NOT NULL,
    -- The lines that named no product of ours, as they came.
    unmatched_lines JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT stock_reservations_order_ref_key UNIQUE (store_id, order_ref)
);
CREATE INDEX stock_reservations_store_idx ON stock_reservations (store_id, created_at, id);

CREATE TABLE stock_reservation_items (
    reservation_id UUID NOT NULL
        REFERENCES stock_reservations (id) ON DELETE CASCADE ON UPDATE CASCADE,
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    reserved_quantity BIGINT NOT NULL CHECK (reserved_quantity >= 0),
    shortfall_quantity BIGINT NOT NULL CHECK (shortfall_quantity >= 0),
    -- What of it has left the house already.
    fulfilled_quantity BIGINT NOT NULL DEFAULT 0 CHECK (fulfilled_quantity >= 0),
    -- Whether its reservation is active, so that it waits for what it lacks.
    is_open BOOLEAN NOT NULL DEFAULT TRUE,
    source_lines JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (reservation_id, product_id),
    CONSTRAINT stock_reservation_items_sum CHECK (quantity = reserved_quantity + shortfall_quantity)
);
-- Who waits for a product, the oldest first.
CREATE INDEX stock_reservation_items_shortfall_idx
    ON stock_reservation_items (product_id, created_at, reservation_id)
    WHERE shortfall_quantity > 0 AND is_open;

-- Every change of a counter, for ever.
CREATE TABLE stock_movements (
    id UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('RESERVE', 'RELEASE', 'FULFIL', 'ADJUST', 'SHELF_ADD',
        'SHELF_REMOVE', 'BACKFILL')),
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    store_id UUID REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    shelf_id UUID REFERENCES shelves (id) ON DELETE CASCADE ON UPDATE CASCADE,
    delta_on_hand BIGINT NOT NULL,
    delta_sellable BIGINT NOT NULL,
    delta_committed BIGINT NOT NULL,
    ref TEXT CHECK (LENGTH(ref) <= 255),
    idempotency_key TEXT CHECK (LENGTH(idempotency_key) <= 255),
    note TEXT CHECK (LENGTH(note) <= 1000),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX stock_movements_product_idx ON stock_movements (product_id, created_at, id);
CREATE UNIQUE INDEX stock_movements_idempotency_key
    ON stock_movements (organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- A request that tells a marketplace quantities; written before it is sent.
CREATE TABLE stock_pushes (
    id UUID PRIMARY KEY,
    store_id UUID NOT NULL REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
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
    sent_at TIMESTAMPTZ,
    accepted_at TIMESTAMPTZ,
    confirmed_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    -- When its results are asked for next; none when there is nothing to ask.
    next_poll_at TIMESTAMPTZ,
    polls INTEGER NOT NULL DEFAULT 0 CHECK (polls >= 0),
    -- The enqueue slot of its confirmation; changing it does not move updated_at.
    enqueued_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX stock_pushes_store_idx ON stock_pushes (store_id, created_at, id);
CREATE INDEX stock_pushes_organization_id_idx
    ON stock_pushes (organization_id, created_at, id);
CREATE INDEX stock_pushes_created_at_idx ON stock_pushes (created_at, id);
CREATE INDEX stock_pushes_body_idx ON stock_pushes (store_id, body_sha256, sent_at)
    WHERE sent_at IS NOT NULL;
CREATE INDEX stock_pushes_poll_idx ON stock_pushes (next_poll_at, id)
    WHERE next_poll_at IS NOT NULL;
CREATE INDEX stock_pushes_outstanding_idx ON stock_pushes (store_id, state)
    WHERE state IN ('SENDING', 'ACCEPTED', 'UNKNOWN');

CREATE TABLE stock_push_items (
    push_id UUID NOT NULL REFERENCES stock_pushes (id) ON DELETE CASCADE ON UPDATE CASCADE,
    element_no INTEGER NOT NULL CHECK (element_no >= 1),
    product_id UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE ON UPDATE CASCADE,
    -- Its names, as they were sent.
    external_sku TEXT,
    external_barcode TEXT,
    external_listing_id TEXT,
    external_location_id TEXT,
    computed_quantity BIGINT NOT NULL,
    sent_quantity BIGINT NOT NULL,
    queue_id UUID,
    queue_version BIGINT,
    reason TEXT,
    priority INTEGER,
    state TEXT NOT NULL CHECK (state IN ('SENT', 'CONFIRMED', 'REJECTED', 'UNKNOWN', 'DRY_RUN')),
    errors JSONB,
    PRIMARY KEY (push_id, element_no)
);

-- What the service knows of a store's marketplace: its limits, its lease, what is asked of it.
CREATE TABLE marketplace_rate_limits (
    store_id UUID PRIMARY KEY REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    last_sent_at TIMESTAMPTZ,
    pending_count BIGINT NOT NULL DEFAULT 0,
    window_opens_at TIMESTAMPTZ,
    backoff_until TIMESTAMPTZ,
    backoff_reason TEXT,
    consecutive_failures INTEGER NOT NULL DEFAULT 0,
    -- Items of the next requests, while their size is halved; successes since.
    batch_limit INTEGER,
    batch_successes INTEGER NOT NULL DEFAULT 0,
    -- The rows of a refused request of which one is bad; the next request has half of them.
    suspects JSONB,
    daily_date DATE,
    daily_used BIGINT NOT NULL DEFAULT 0,
    lease_token UUID,
    lease_until TIMESTAMPTZ,
    -- The enqueue slots of its jobs.
    push_enqueued_until TIMESTAMPTZ,
    resync_enqueued_until TIMESTAMPTZ,
    reconcile_enqueued_until TIMESTAMPTZ,
    -- A resync that was asked for, and behind which product it goes on.
    resync_requested_at TIMESTAMPTZ,
    resync_only_differing BOOLEAN NOT NULL DEFAULT TRUE,
    resync_after UUID,
    -- The same of a reconciliation.
    reconcile_requested_at TIMESTAMPTZ,
    reconcile_after UUID,
    reconciled_at TIMESTAMPTZ,
    -- When the marketplace was last found to show something else than it was told.
    drifted_at TIMESTAMPTZ,
    sets_checked BIGINT NOT NULL DEFAULT 0,
    sets_accurate BIGINT NOT NULL DEFAULT 0,
    -- When each kind of event was last told, so that none repeats within minutes.
    told_events JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX marketplace_rate_limits_resync_idx ON marketplace_rate_limits (resync_requested_at)
    WHERE resync_requested_at IS NOT NULL;
CREATE INDEX marketplace_rate_limits_reconcile_idx
    ON marketplace_rate_limits (reconcile_requested_at)
    WHERE reconcile_requested_at IS NOT NULL;

-- Request rates, shared by all processes.
CREATE TABLE rate_buckets (
    bucket_key TEXT PRIMARY KEY,
    tokens DOUBLE PRECISION NOT NULL,
    refilled_at TIMESTAMPTZ NOT NULL
);

-- Requests to marketplaces and what they answered, without credentials.
CREATE TABLE api_logs (
    id UUID PRIMARY KEY,
    organization_id TEXT NOT NULL,
    provider TEXT NOT NULL CHECK (provider IN ('ARAS_KARGO', 'TRENDYOL', 'HEPSIBURADA', 'IKAS',
        'UYUMSOFT', 'SHOPIFY', 'AMAZON', 'ETSY')),
    type TEXT NOT NULL CHECK (type IN ('SET_ORDER', 'GET_BARCODE', 'UPDATE_STATUS', 'GET_ORDER',
        'CREATE_INVOICE', 'OTHER', 'UPDATE_STOCK', 'GET_STOCK_RESULT', 'GET_STOCK')),
    store_id UUID REFERENCES stores (id) ON DELETE CASCADE ON UPDATE CASCADE,
    order_ref TEXT,
    push_id UUID,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    request_body TEXT,
    response_body TEXT,
    truncated BOOLEAN NOT NULL,
    http_status INTEGER,
    is_success BOOLEAN NOT NULL,
    error TEXT,
    duration_ms BIGINT NOT NULL CHECK (duration_ms >= 0),
    correlation_id TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX api_logs_organization_id_idx ON api_logs (organization_id, created_at, id);
CREATE INDEX api_logs_store_idx ON api_logs (store_id, created_at, id);
CREATE INDEX api_logs_created_at_idx ON api_logs (created_at, id);
CREATE INDEX api_logs_push_idx ON api_logs (push_id) WHERE push_id IS NOT NULL;
