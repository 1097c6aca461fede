-- Made from the migrations by `marketplace-sync export-schema`; do not edit.

CREATE TABLE api_keys (
    id uuid NOT NULL,
    organization_id character varying(255) NOT NULL,
    name character varying(255),
    prefix character varying(16) NOT NULL,
    hash character varying(64) NOT NULL,
    scope text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_keys_hash_check CHECK ((length((hash)::text) = 64)),
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_organization_id_check CHECK (((organization_id)::text <> ''::text)),
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_scope_check CHECK ((scope = ANY (ARRAY['read'::text, 'write'::text])))
);

CREATE TABLE api_logs (
    id uuid NOT NULL,
    organization_id text NOT NULL,
    provider text NOT NULL,
    type text NOT NULL,
    store_id uuid,
    order_ref text,
    push_id uuid,
    method text NOT NULL,
    url text NOT NULL,
    request_body text,
    response_body text,
    truncated boolean NOT NULL,
    http_status integer,
    is_success boolean NOT NULL,
    error text,
    duration_ms bigint NOT NULL,
    correlation_id text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT api_logs_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT api_logs_pkey PRIMARY KEY (id),
    CONSTRAINT api_logs_provider_check CHECK ((provider = ANY (ARRAY['ARAS_KARGO'::text, 'TRENDYOL'::text, 'HEPSIBURADA'::text, 'IKAS'::text, 'UYUMSOFT'::text, 'SHOPIFY'::text, 'AMAZON'::text, 'ETSY'::text]))),
    CONSTRAINT api_logs_type_check CHECK ((type = ANY (ARRAY['SET_ORDER'::text, 'GET_BARCODE'::text, 'UPDATE_STATUS'::text, 'GET_ORDER'::text, 'CREATE_INVOICE'::text, 'OTHER'::text, 'UPDATE_STOCK'::text, 'GET_STOCK_RESULT'::text, 'GET_STOCK'::text])))
);

CREATE TABLE callback_attempts (
    id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration_ms integer NOT NULL,
    http_status integer,
    error text,
    response text,
    CONSTRAINT callback_attempts_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT callback_attempts_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT callback_attempts_pkey PRIMARY KEY (id)
);

CREATE TABLE callback_deliveries (
    id uuid NOT NULL,
    outbox_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    http_status integer,
    attempt integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone,
    last_error text,
    delivered_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    lease_token uuid,
    lease_expires_at timestamp with time zone,
    CONSTRAINT callback_deliveries_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT callback_deliveries_identity_key UNIQUE (outbox_id, endpoint_id),
    CONSTRAINT callback_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT callback_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'success'::text, 'failed'::text])))
);

CREATE TABLE callback_outbox (
    id uuid NOT NULL,
    organization_id character varying(255) NOT NULL,
    store_id uuid NOT NULL,
    event text NOT NULL,
    payload jsonb NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    next_retry_at timestamp with time zone,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    enqueued_until timestamp with time zone,
    traceparent text,
    CONSTRAINT callback_outbox_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT callback_outbox_event_check CHECK ((event = ANY (ARRAY['sync.started'::text, 'sync.completed'::text, 'sync.failed'::text, 'stock.push.completed'::text, 'stock.push.failed'::text, 'stock.push.delayed'::text, 'stock.push.auth_failed'::text, 'stock.item.blocked'::text, 'stock.oversold'::text, 'stock.deficit'::text, 'stock.order.unmatched'::text]))),
    CONSTRAINT callback_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT callback_outbox_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'success'::text, 'failed'::text])))
);

CREATE TABLE encryption_keys (
    key_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT encryption_keys_pkey PRIMARY KEY (key_id)
);

CREATE TABLE idempotency_keys (
    id uuid NOT NULL,
    scope text NOT NULL,
    route text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint text NOT NULL,
    running_until timestamp with time zone NOT NULL,
    status integer,
    answer text,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_answer_is_whole CHECK (((status IS NULL) = (answer IS NULL))),
    CONSTRAINT idempotency_keys_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT idempotency_keys_identity_key UNIQUE (scope, route, idempotency_key),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (id)
);

CREATE TABLE marketplace_rate_limits (
    store_id uuid NOT NULL,
    last_sent_at timestamp with time zone,
    pending_count bigint DEFAULT 0 NOT NULL,
    window_opens_at timestamp with time zone,
    backoff_until timestamp with time zone,
    backoff_reason text,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    batch_limit integer,
    batch_successes integer DEFAULT 0 NOT NULL,
    suspects jsonb,
    daily_date date,
    daily_used bigint DEFAULT 0 NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    push_enqueued_until timestamp with time zone,
    resync_enqueued_until timestamp with time zone,
    reconcile_enqueued_until timestamp with time zone,
    resync_requested_at timestamp with time zone,
    resync_only_differing boolean DEFAULT true NOT NULL,
    resync_after uuid,
    reconcile_requested_at timestamp with time zone,
    reconcile_after uuid,
    reconciled_at timestamp with time zone,
    drifted_at timestamp with time zone,
    sets_checked bigint DEFAULT 0 NOT NULL,
    sets_accurate bigint DEFAULT 0 NOT NULL,
    told_events jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT marketplace_rate_limits_pkey PRIMARY KEY (store_id)
);

CREATE TABLE product_barcodes (
    organization_id text NOT NULL,
    barcode text NOT NULL,
    product_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT product_barcodes_barcode_check CHECK (((length(barcode) >= 1) AND (length(barcode) <= 255))),
    CONSTRAINT product_barcodes_pkey PRIMARY KEY (organization_id, barcode)
);

CREATE TABLE product_set_items (
    set_product_id uuid NOT NULL,
    component_product_id uuid NOT NULL,
    quantity bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT product_set_items_no_set_in_itself CHECK ((set_product_id <> component_product_id)),
    CONSTRAINT product_set_items_pkey PRIMARY KEY (set_product_id, component_product_id),
    CONSTRAINT product_set_items_quantity_check CHECK ((quantity > 0))
);

CREATE TABLE product_stores (
    store_id uuid NOT NULL,
    product_id uuid NOT NULL,
    sellable_quantity bigint DEFAULT 0 NOT NULL,
    committed_quantity bigint DEFAULT 0 NOT NULL,
    is_listed boolean DEFAULT true NOT NULL,
    external_sku text,
    external_barcode text,
    external_listing_id text,
    external_location_id text,
    last_pushed_quantity bigint,
    last_pushed_at timestamp with time zone,
    last_confirmed_quantity bigint,
    last_confirmed_at timestamp with time zone,
    in_flight_push_id uuid,
    push_state text DEFAULT 'OK'::text NOT NULL,
    push_error_code text,
    push_error_message text,
    blocked_until timestamp with time zone,
    reject_count integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT product_stores_committed_quantity_check CHECK ((committed_quantity >= 0)),
    CONSTRAINT product_stores_external_barcode_check CHECK (((length(external_barcode) >= 1) AND (length(external_barcode) <= 255))),
    CONSTRAINT product_stores_external_listing_id_check CHECK (((length(external_listing_id) >= 1) AND (length(external_listing_id) <= 255))),
    CONSTRAINT product_stores_external_location_id_check CHECK (((length(external_location_id) >= 1) AND (length(external_location_id) <= 255))),
    CONSTRAINT product_stores_external_sku_check CHECK (((length(external_sku) >= 1) AND (length(external_sku) <= 255))),
    CONSTRAINT product_stores_pkey PRIMARY KEY (store_id, product_id),
    CONSTRAINT product_stores_push_state_check CHECK ((push_state = ANY (ARRAY['OK'::text, 'BLOCKED'::text]))),
    CONSTRAINT product_stores_reject_count_check CHECK ((reject_count >= 0)),
    CONSTRAINT product_stores_sellable_quantity_check CHECK ((sellable_quantity >= 0))
);

CREATE TABLE products (
    id uuid NOT NULL,
    organization_id text NOT NULL,
    name text NOT NULL,
    sku text,
    barcode text,
    product_type text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT products_barcode_check CHECK (((length(barcode) >= 1) AND (length(barcode) <= 255))),
    CONSTRAINT products_name_check CHECK (((length(name) >= 1) AND (length(name) <= 500))),
    CONSTRAINT products_organization_id_check CHECK (((length(organization_id) >= 1) AND (length(organization_id) <= 255))),
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_product_type_check CHECK ((product_type = ANY (ARRAY['SIMPLE'::text, 'SET'::text]))),
    CONSTRAINT products_sku_check CHECK (((length(sku) >= 1) AND (length(sku) <= 255)))
);

CREATE TABLE queue_epochs (
    queue text NOT NULL,
    epoch uuid NOT NULL,
    CONSTRAINT queue_epochs_pkey PRIMARY KEY (queue)
);

CREATE TABLE rate_buckets (
    bucket_key text NOT NULL,
    tokens double precision NOT NULL,
    refilled_at timestamp with time zone NOT NULL,
    CONSTRAINT rate_buckets_pkey PRIMARY KEY (bucket_key)
);

CREATE TABLE schedule_cursors (
    schedule text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    id uuid NOT NULL,
    CONSTRAINT schedule_cursors_pkey PRIMARY KEY (schedule)
);

CREATE TABLE schedule_ticks (
    schedule text NOT NULL,
    tick timestamp with time zone NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    CONSTRAINT schedule_ticks_pkey PRIMARY KEY (schedule, tick)
);

CREATE TABLE shelf_stocks (
    shelf_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT shelf_stocks_pkey PRIMARY KEY (shelf_id, product_id),
    CONSTRAINT shelf_stocks_quantity_check CHECK ((quantity >= 0))
);

CREATE TABLE shelves (
    id uuid NOT NULL,
    warehouse_id uuid NOT NULL,
    code text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT shelves_code_check CHECK (((length(code) >= 1) AND (length(code) <= 64))),
    CONSTRAINT shelves_code_key UNIQUE (warehouse_id, code),
    CONSTRAINT shelves_pkey PRIMARY KEY (id)
);

CREATE TABLE stock_movements (
    id uuid NOT NULL,
    organization_id text NOT NULL,
    kind text NOT NULL,
    product_id uuid NOT NULL,
    store_id uuid,
    shelf_id uuid,
    delta_on_hand bigint NOT NULL,
    delta_sellable bigint NOT NULL,
    delta_committed bigint NOT NULL,
    ref text,
    idempotency_key text,
    note text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_movements_idempotency_key_check CHECK ((length(idempotency_key) <= 255)),
    CONSTRAINT stock_movements_kind_check CHECK ((kind = ANY (ARRAY['RESERVE'::text, 'RELEASE'::text, 'FULFIL'::text, 'ADJUST'::text, 'SHELF_ADD'::text, 'SHELF_REMOVE'::text, 'BACKFILL'::text]))),
    CONSTRAINT stock_movements_note_check CHECK ((length(note) <= 1000)),
    CONSTRAINT stock_movements_pkey PRIMARY KEY (id),
    CONSTRAINT stock_movements_ref_check CHECK ((length(ref) <= 255))
);

CREATE TABLE stock_push_items (
    push_id uuid NOT NULL,
    element_no integer NOT NULL,
    product_id uuid NOT NULL,
    external_sku text,
    external_barcode text,
    external_listing_id text,
    external_location_id text,
    computed_quantity bigint NOT NULL,
    sent_quantity bigint NOT NULL,
    queue_id uuid,
    queue_version bigint,
    reason text,
    priority integer,
    state text NOT NULL,
    errors jsonb,
    CONSTRAINT stock_push_items_element_no_check CHECK ((element_no >= 1)),
    CONSTRAINT stock_push_items_pkey PRIMARY KEY (push_id, element_no),
    CONSTRAINT stock_push_items_state_check CHECK ((state = ANY (ARRAY['SENT'::text, 'CONFIRMED'::text, 'REJECTED'::text, 'UNKNOWN'::text, 'DRY_RUN'::text])))
);

CREATE TABLE stock_pushes (
    id uuid NOT NULL,
    store_id uuid NOT NULL,
    organization_id text NOT NULL,
    state text NOT NULL,
    body_sha256 text NOT NULL,
    body text,
    item_count integer NOT NULL,
    failed_item_count integer DEFAULT 0 NOT NULL,
    external_batch_id text,
    http_status integer,
    error text,
    sent_at timestamp with time zone,
    accepted_at timestamp with time zone,
    confirmed_at timestamp with time zone,
    expires_at timestamp with time zone,
    next_poll_at timestamp with time zone,
    polls integer DEFAULT 0 NOT NULL,
    enqueued_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_pushes_failed_item_count_check CHECK ((failed_item_count >= 0)),
    CONSTRAINT stock_pushes_item_count_check CHECK ((item_count >= 0)),
    CONSTRAINT stock_pushes_pkey PRIMARY KEY (id),
    CONSTRAINT stock_pushes_polls_check CHECK ((polls >= 0)),
    CONSTRAINT stock_pushes_state_check CHECK ((state = ANY (ARRAY['DRY_RUN'::text, 'SENDING'::text, 'ACCEPTED'::text, 'CONFIRMED'::text, 'PARTIAL'::text, 'FAILED'::text, 'UNKNOWN'::text, 'EXPIRED'::text])))
);

CREATE TABLE stock_reservation_items (
    reservation_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity bigint NOT NULL,
    reserved_quantity bigint NOT NULL,
    shortfall_quantity bigint NOT NULL,
    fulfilled_quantity bigint DEFAULT 0 NOT NULL,
    is_open boolean DEFAULT true NOT NULL,
    source_lines jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_reservation_items_fulfilled_quantity_check CHECK ((fulfilled_quantity >= 0)),
    CONSTRAINT stock_reservation_items_pkey PRIMARY KEY (reservation_id, product_id),
    CONSTRAINT stock_reservation_items_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT stock_reservation_items_reserved_quantity_check CHECK ((reserved_quantity >= 0)),
    CONSTRAINT stock_reservation_items_shortfall_quantity_check CHECK ((shortfall_quantity >= 0)),
    CONSTRAINT stock_reservation_items_sum CHECK ((quantity = (reserved_quantity + shortfall_quantity)))
);

CREATE TABLE stock_reservations (
    id uuid NOT NULL,
    store_id uuid NOT NULL,
    order_ref text NOT NULL,
    mode text NOT NULL,
    status text NOT NULL,
    request_hash text NOT NULL,
    unmatched_lines jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_reservations_mode_check CHECK ((mode = ANY (ARRAY['STRICT'::text, 'ALLOW_SHORTFALL'::text]))),
    CONSTRAINT stock_reservations_order_ref_check CHECK (((length(order_ref) >= 1) AND (length(order_ref) <= 255))),
    CONSTRAINT stock_reservations_order_ref_key UNIQUE (store_id, order_ref),
    CONSTRAINT stock_reservations_pkey PRIMARY KEY (id),
    CONSTRAINT stock_reservations_status_check CHECK ((status = ANY (ARRAY['ACTIVE'::text, 'RELEASED'::text, 'FULFILLED'::text])))
);

CREATE TABLE stock_update_queue (
    id uuid NOT NULL,
    product_id uuid NOT NULL,
    store_id uuid NOT NULL,
    reason text NOT NULL,
    priority integer DEFAULT 50 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    force boolean DEFAULT false NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    last_enqueued_at timestamp with time zone NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    processed_at timestamp with time zone,
    outcome text,
    push_id uuid,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT stock_update_queue_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT stock_update_queue_outcome_check CHECK ((outcome = ANY (ARRAY['SENT'::text, 'NOOP_UNCHANGED'::text, 'DRY_RUN'::text, 'SKIPPED_STORE_DISABLED'::text, 'SKIPPED_NOT_LISTED'::text, 'SKIPPED_NO_IDENTIFIER'::text]))),
    CONSTRAINT stock_update_queue_outcome_is_of_a_processed_row CHECK (((processed_at IS NULL) = (outcome IS NULL))),
    CONSTRAINT stock_update_queue_pkey PRIMARY KEY (id),
    CONSTRAINT stock_update_queue_priority_check CHECK (((priority >= 0) AND (priority <= 100))),
    CONSTRAINT stock_update_queue_reason_check CHECK ((reason = ANY (ARRAY['ORDER_CREATED'::text, 'ORDER_CANCELLED'::text, 'STOCK_REMOVED'::text, 'STOCK_ADDED'::text, 'SET_CHANGED'::text, 'RESYNC'::text, 'RECONCILE'::text, 'MANUAL'::text])))
);

CREATE TABLE stores (
    id uuid NOT NULL,
    organization_id character varying(255) NOT NULL,
    marketplace text NOT NULL,
    external_store_id character varying(255) NOT NULL,
    store_name character varying(255) NOT NULL,
    access_token text NOT NULL,
    currency character varying(10) NOT NULL,
    sync_token uuid NOT NULL,
    sync_status text DEFAULT 'pending'::text NOT NULL,
    last_sync_at timestamp with time zone,
    imported_success_count bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    lease_token uuid,
    lease_expires_at timestamp with time zone,
    enqueued_until timestamp with time zone,
    paused_until timestamp with time zone,
    paused_at timestamp with time zone,
    is_active boolean DEFAULT true NOT NULL,
    send_stock boolean DEFAULT false NOT NULL,
    stock_push_mode text DEFAULT 'OFF'::text NOT NULL,
    stock_source text DEFAULT 'DIRECT'::text NOT NULL,
    stock_recount_at timestamp with time zone,
    rate_mode text,
    listing_tier text DEFAULT '50K'::text NOT NULL,
    listing_count bigint,
    integrator_name text DEFAULT 'SelfIntegration'::text NOT NULL,
    marketplace_env text DEFAULT 'PROD'::text NOT NULL,
    storefront_code text,
    api_key text,
    api_secret text,
    CONSTRAINT stores_external_store_id_check CHECK (((external_store_id)::text <> ''::text)),
    CONSTRAINT stores_identity_key UNIQUE (organization_id, marketplace, external_store_id),
    CONSTRAINT stores_imported_success_count_check CHECK ((imported_success_count >= 0)),
    CONSTRAINT stores_integrator_name_check CHECK (((length(integrator_name) >= 1) AND (length(integrator_name) <= 255))),
    CONSTRAINT stores_listing_count_check CHECK ((listing_count >= 0)),
    CONSTRAINT stores_listing_tier_check CHECK ((listing_tier = ANY (ARRAY['50K'::text, '75K'::text, '150K'::text, '500K'::text, 'UNLIMITED'::text]))),
    CONSTRAINT stores_marketplace_check CHECK ((marketplace = ANY (ARRAY['etsy'::text, 'shopify'::text, 'amazon'::text, 'trendyol'::text, 'hepsiburada'::text]))),
    CONSTRAINT stores_marketplace_env_check CHECK ((marketplace_env = ANY (ARRAY['PROD'::text, 'STAGE'::text]))),
    CONSTRAINT stores_organization_id_check CHECK (((organization_id)::text <> ''::text)),
    CONSTRAINT stores_pkey PRIMARY KEY (id),
    CONSTRAINT stores_rate_mode_check CHECK ((rate_mode = ANY (ARRAY['IDENTICAL_BODY'::text, 'STORE_WINDOW'::text, 'CONCURRENCY'::text]))),
    CONSTRAINT stores_stock_push_mode_check CHECK ((stock_push_mode = ANY (ARRAY['OFF'::text, 'DRY_RUN'::text, 'LIVE'::text]))),
    CONSTRAINT stores_stock_source_check CHECK ((stock_source = ANY (ARRAY['DIRECT'::text, 'WAREHOUSE'::text]))),
    CONSTRAINT stores_storefront_code_check CHECK ((length(storefront_code) <= 64)),
    CONSTRAINT stores_sync_status_check CHECK ((sync_status = ANY (ARRAY['pending'::text, 'success'::text, 'partial'::text, 'failed'::text]))),
    CONSTRAINT stores_sync_token_key UNIQUE (sync_token)
);

CREATE TABLE sync_logs (
    id uuid NOT NULL,
    store_id uuid NOT NULL,
    receipt character varying(255) NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    order_id character varying(255),
    amount_minor bigint,
    currency character varying(10),
    error_details text,
    attempt integer DEFAULT 0 NOT NULL,
    failed_attempt integer DEFAULT 0 NOT NULL,
    next_retry_at timestamp with time zone,
    dead_at timestamp with time zone,
    imported_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT sync_logs_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT sync_logs_dead_is_failed CHECK (((dead_at IS NULL) OR (status = 'failed'::text))),
    CONSTRAINT sync_logs_failed_attempt_check CHECK ((failed_attempt >= 0)),
    CONSTRAINT sync_logs_pkey PRIMARY KEY (id),
    CONSTRAINT sync_logs_receipt_check CHECK (((receipt)::text <> ''::text)),
    CONSTRAINT sync_logs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'success'::text, 'failed'::text, 'rate_limited'::text]))),
    CONSTRAINT sync_logs_store_id_receipt_key UNIQUE (store_id, receipt)
);

CREATE TABLE warehouse_stores (
    warehouse_id uuid NOT NULL,
    store_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT warehouse_stores_pkey PRIMARY KEY (warehouse_id, store_id)
);

CREATE TABLE warehouses (
    id uuid NOT NULL,
    organization_id text NOT NULL,
    name text NOT NULL,
    code text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT warehouses_code_check CHECK (((length(code) >= 1) AND (length(code) <= 64))),
    CONSTRAINT warehouses_code_key UNIQUE (organization_id, code),
    CONSTRAINT warehouses_name_check CHECK (((length(name) >= 1) AND (length(name) <= 255))),
    CONSTRAINT warehouses_organization_id_check CHECK (((length(organization_id) >= 1) AND (length(organization_id) <= 255))),
    CONSTRAINT warehouses_pkey PRIMARY KEY (id)
);

CREATE TABLE webhook_endpoints (
    id uuid NOT NULL,
    organization_id character varying(255) NOT NULL,
    event text NOT NULL,
    target_url text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    description text,
    is_ordered boolean DEFAULT false NOT NULL,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    open_until timestamp with time zone,
    inactive_reason text,
    deleted_at timestamp with time zone,
    CONSTRAINT webhook_endpoints_event_check CHECK ((event = ANY (ARRAY['sync.started'::text, 'sync.completed'::text, 'sync.failed'::text, 'stock.push.completed'::text, 'stock.push.failed'::text, 'stock.push.delayed'::text, 'stock.push.auth_failed'::text, 'stock.item.blocked'::text, 'stock.oversold'::text, 'stock.deficit'::text, 'stock.order.unmatched'::text]))),
    CONSTRAINT webhook_endpoints_identity_key UNIQUE (organization_id, event, target_url),
    CONSTRAINT webhook_endpoints_organization_id_check CHECK (((organization_id)::text <> ''::text)),
    CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_endpoints_target_url_check CHECK ((length(target_url) <= 2048))
);

CREATE TABLE webhook_secrets (
    id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    secret text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT webhook_secrets_pkey PRIMARY KEY (id)
);

CREATE INDEX api_keys_organization_id_idx ON public.api_keys USING btree (organization_id, created_at, id);

CREATE INDEX api_logs_created_at_idx ON public.api_logs USING btree (created_at, id);

CREATE INDEX api_logs_organization_id_idx ON public.api_logs USING btree (organization_id, created_at, id);

CREATE INDEX api_logs_push_idx ON public.api_logs USING btree (push_id) WHERE (push_id IS NOT NULL);

CREATE INDEX api_logs_store_idx ON public.api_logs USING btree (store_id, created_at, id);

CREATE INDEX callback_attempts_delivery_id_idx ON public.callback_attempts USING btree (delivery_id, started_at, id);

CREATE INDEX callback_deliveries_due_idx ON public.callback_deliveries USING btree (endpoint_id, COALESCE(next_attempt_at, created_at), id) WHERE (status = 'pending'::text);

CREATE INDEX callback_deliveries_endpoint_id_idx ON public.callback_deliveries USING btree (endpoint_id, created_at, id);

CREATE INDEX callback_deliveries_failed_endpoint_idx ON public.callback_deliveries USING btree (endpoint_id, created_at, id) WHERE (status = 'failed'::text);

CREATE INDEX callback_deliveries_pending_endpoint_idx ON public.callback_deliveries USING btree (endpoint_id, created_at, id) WHERE (status = 'pending'::text);

CREATE INDEX callback_outbox_done_idx ON public.callback_outbox USING btree (updated_at, id) WHERE (status = 'success'::text);

CREATE INDEX callback_outbox_failed_idx ON public.callback_outbox USING btree (created_at, id) WHERE (status = 'failed'::text);

CREATE INDEX callback_outbox_failed_organization_idx ON public.callback_outbox USING btree (organization_id, created_at, id) WHERE (status = 'failed'::text);

CREATE INDEX callback_outbox_organization_id_idx ON public.callback_outbox USING btree (organization_id, created_at, id);

CREATE INDEX callback_outbox_pending_idx ON public.callback_outbox USING btree (created_at, id) WHERE (status = 'pending'::text);

CREATE INDEX callback_outbox_store_id_idx ON public.callback_outbox USING btree (store_id, created_at, id);

CREATE INDEX idempotency_keys_expires_at_idx ON public.idempotency_keys USING btree (expires_at, id);

CREATE INDEX marketplace_rate_limits_reconcile_idx ON public.marketplace_rate_limits USING btree (reconcile_requested_at) WHERE (reconcile_requested_at IS NOT NULL);

CREATE INDEX marketplace_rate_limits_resync_idx ON public.marketplace_rate_limits USING btree (resync_requested_at) WHERE (resync_requested_at IS NOT NULL);

CREATE INDEX product_barcodes_product_id_idx ON public.product_barcodes USING btree (product_id);

CREATE INDEX product_set_items_component_idx ON public.product_set_items USING btree (component_product_id, set_product_id);

CREATE INDEX product_stores_blocked_idx ON public.product_stores USING btree (store_id, product_id) WHERE (push_state = 'BLOCKED'::text);

CREATE INDEX product_stores_external_barcode_idx ON public.product_stores USING btree (store_id, external_barcode) WHERE (external_barcode IS NOT NULL);

CREATE INDEX product_stores_external_sku_idx ON public.product_stores USING btree (store_id, external_sku) WHERE (external_sku IS NOT NULL);

CREATE INDEX product_stores_in_flight_idx ON public.product_stores USING btree (in_flight_push_id) WHERE (in_flight_push_id IS NOT NULL);

CREATE INDEX product_stores_product_id_idx ON public.product_stores USING btree (product_id, store_id);

CREATE UNIQUE INDEX products_barcode_key ON public.products USING btree (organization_id, barcode) WHERE (barcode IS NOT NULL);

CREATE INDEX products_organization_id_idx ON public.products USING btree (organization_id, created_at, id);

CREATE UNIQUE INDEX products_sku_key ON public.products USING btree (organization_id, sku) WHERE (sku IS NOT NULL);

CREATE INDEX schedule_ticks_tick_idx ON public.schedule_ticks USING btree (tick);

CREATE INDEX shelf_stocks_product_id_idx ON public.shelf_stocks USING btree (product_id, shelf_id);

CREATE INDEX shelves_warehouse_id_idx ON public.shelves USING btree (warehouse_id, created_at, id);

CREATE UNIQUE INDEX stock_movements_idempotency_key ON public.stock_movements USING btree (organization_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX stock_movements_product_idx ON public.stock_movements USING btree (product_id, created_at, id);

CREATE INDEX stock_pushes_body_idx ON public.stock_pushes USING btree (store_id, body_sha256, sent_at) WHERE (sent_at IS NOT NULL);

CREATE INDEX stock_pushes_created_at_idx ON public.stock_pushes USING btree (created_at, id);

CREATE INDEX stock_pushes_organization_id_idx ON public.stock_pushes USING btree (organization_id, created_at, id);

CREATE INDEX stock_pushes_outstanding_idx ON public.stock_pushes USING btree (store_id, state) WHERE (state = ANY (ARRAY['SENDING'::text, 'ACCEPTED'::text, 'UNKNOWN'::text]));

CREATE INDEX stock_pushes_poll_idx ON public.stock_pushes USING btree (next_poll_at, id) WHERE (next_poll_at IS NOT NULL);

CREATE INDEX stock_pushes_store_idx ON public.stock_pushes USING btree (store_id, created_at, id);

CREATE INDEX stock_reservation_items_shortfall_idx ON public.stock_reservation_items USING btree (product_id, created_at, reservation_id) WHERE ((shortfall_quantity > 0) AND is_open);

CREATE INDEX stock_reservations_store_idx ON public.stock_reservations USING btree (store_id, created_at, id);

CREATE INDEX stock_update_queue_claim_idx ON public.stock_update_queue USING btree (store_id, priority DESC, created_at, id, next_attempt_at) WHERE (processed_at IS NULL);

CREATE INDEX stock_update_queue_due_idx ON public.stock_update_queue USING btree (store_id, next_attempt_at) WHERE (processed_at IS NULL);

CREATE INDEX stock_update_queue_overdue_idx ON public.stock_update_queue USING btree (created_at, id) WHERE ((processed_at IS NULL) AND (priority < 100));

CREATE UNIQUE INDEX stock_update_queue_pending_key ON public.stock_update_queue USING btree (product_id, store_id) WHERE (processed_at IS NULL);

CREATE INDEX stock_update_queue_processed_idx ON public.stock_update_queue USING btree (processed_at, id) WHERE (processed_at IS NOT NULL);

CREATE INDEX stock_update_queue_store_idx ON public.stock_update_queue USING btree (store_id, created_at, id);

CREATE INDEX stores_created_at_id_idx ON public.stores USING btree (created_at, id);

CREATE INDEX stores_lease_idx ON public.stores USING btree (lease_expires_at) WHERE (lease_expires_at IS NOT NULL);

CREATE INDEX stores_paused_idx ON public.stores USING btree (created_at, id) WHERE (paused_at IS NOT NULL);

CREATE INDEX stores_stock_push_idx ON public.stores USING btree (created_at, id) WHERE (stock_push_mode <> 'OFF'::text);

CREATE INDEX stores_stock_recount_idx ON public.stores USING btree (organization_id, id) WHERE (stock_recount_at IS NOT NULL);

CREATE INDEX stores_sync_status_idx ON public.stores USING btree (sync_status, created_at, id);

CREATE INDEX sync_logs_batch_idx ON public.sync_logs USING btree (store_id, created_at, id, COALESCE(next_retry_at, created_at)) WHERE ((status <> 'success'::text) AND (dead_at IS NULL));

CREATE INDEX sync_logs_dead_idx ON public.sync_logs USING btree (dead_at, id) WHERE (dead_at IS NOT NULL);

CREATE INDEX sync_logs_dead_store_idx ON public.sync_logs USING btree (store_id, dead_at, id) WHERE (dead_at IS NOT NULL);

CREATE INDEX sync_logs_due_idx ON public.sync_logs USING btree (store_id, COALESCE(next_retry_at, created_at)) WHERE ((status <> 'success'::text) AND (dead_at IS NULL));

CREATE INDEX sync_logs_rate_limited_idx ON public.sync_logs USING btree (store_id) WHERE (status = 'rate_limited'::text);

CREATE INDEX sync_logs_window_idx ON public.sync_logs USING btree (store_id, created_at DESC, id DESC, status) WHERE (status <> 'pending'::text);

CREATE INDEX warehouse_stores_store_id_idx ON public.warehouse_stores USING btree (store_id, warehouse_id);

CREATE INDEX warehouses_organization_id_idx ON public.warehouses USING btree (organization_id, created_at, id);

CREATE INDEX webhook_endpoints_inactive_idx ON public.webhook_endpoints USING btree (id) WHERE (NOT is_active);

CREATE INDEX webhook_endpoints_open_idx ON public.webhook_endpoints USING btree (open_until, id) WHERE (open_until IS NOT NULL);

CREATE INDEX webhook_secrets_endpoint_id_idx ON public.webhook_secrets USING btree (endpoint_id, created_at, id);

ALTER TABLE api_logs ADD CONSTRAINT api_logs_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_attempts ADD CONSTRAINT callback_attempts_delivery_id_fkey
    FOREIGN KEY (delivery_id) REFERENCES callback_deliveries(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_deliveries ADD CONSTRAINT callback_deliveries_endpoint_id_fkey
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_deliveries ADD CONSTRAINT callback_deliveries_outbox_id_fkey
    FOREIGN KEY (outbox_id) REFERENCES callback_outbox(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_outbox ADD CONSTRAINT callback_outbox_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE marketplace_rate_limits ADD CONSTRAINT marketplace_rate_limits_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE product_barcodes ADD CONSTRAINT product_barcodes_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE product_set_items ADD CONSTRAINT product_set_items_component_product_id_fkey
    FOREIGN KEY (component_product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE product_set_items ADD CONSTRAINT product_set_items_set_product_id_fkey
    FOREIGN KEY (set_product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE product_stores ADD CONSTRAINT product_stores_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE product_stores ADD CONSTRAINT product_stores_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE shelf_stocks ADD CONSTRAINT shelf_stocks_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE shelf_stocks ADD CONSTRAINT shelf_stocks_shelf_id_fkey
    FOREIGN KEY (shelf_id) REFERENCES shelves(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE shelves ADD CONSTRAINT shelves_warehouse_id_fkey
    FOREIGN KEY (warehouse_id) REFERENCES warehouses(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_shelf_id_fkey
    FOREIGN KEY (shelf_id) REFERENCES shelves(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_push_items ADD CONSTRAINT stock_push_items_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_push_items ADD CONSTRAINT stock_push_items_push_id_fkey
    FOREIGN KEY (push_id) REFERENCES stock_pushes(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_pushes ADD CONSTRAINT stock_pushes_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_reservation_items ADD CONSTRAINT stock_reservation_items_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_reservation_items ADD CONSTRAINT stock_reservation_items_reservation_id_fkey
    FOREIGN KEY (reservation_id) REFERENCES stock_reservations(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_reservations ADD CONSTRAINT stock_reservations_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_update_queue ADD CONSTRAINT stock_update_queue_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE stock_update_queue ADD CONSTRAINT stock_update_queue_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE sync_logs ADD CONSTRAINT sync_logs_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE warehouse_stores ADD CONSTRAINT warehouse_stores_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE warehouse_stores ADD CONSTRAINT warehouse_stores_warehouse_id_fkey
    FOREIGN KEY (warehouse_id) REFERENCES warehouses(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE webhook_secrets ADD CONSTRAINT webhook_secrets_endpoint_id_fkey
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints(id) ON UPDATE CASCADE ON DELETE CASCADE;
