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
    CONSTRAINT callback_outbox_event_check CHECK ((event = ANY (ARRAY['sync.started'::text, 'sync.completed'::text, 'sync.failed'::text]))),
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

CREATE TABLE queue_epochs (
    queue text NOT NULL,
    epoch uuid NOT NULL,
    CONSTRAINT queue_epochs_pkey PRIMARY KEY (queue)
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
    CONSTRAINT stores_external_store_id_check CHECK (((external_store_id)::text <> ''::text)),
    CONSTRAINT stores_identity_key UNIQUE (organization_id, marketplace, external_store_id),
    CONSTRAINT stores_imported_success_count_check CHECK ((imported_success_count >= 0)),
    CONSTRAINT stores_marketplace_check CHECK ((marketplace = ANY (ARRAY['etsy'::text, 'shopify'::text, 'amazon'::text]))),
    CONSTRAINT stores_organization_id_check CHECK (((organization_id)::text <> ''::text)),
    CONSTRAINT stores_pkey PRIMARY KEY (id),
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
    CONSTRAINT webhook_endpoints_event_check CHECK ((event = ANY (ARRAY['sync.started'::text, 'sync.completed'::text, 'sync.failed'::text]))),
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

CREATE INDEX schedule_ticks_tick_idx ON public.schedule_ticks USING btree (tick);

CREATE INDEX stores_created_at_id_idx ON public.stores USING btree (created_at, id);

CREATE INDEX stores_lease_idx ON public.stores USING btree (lease_expires_at) WHERE (lease_expires_at IS NOT NULL);

CREATE INDEX stores_paused_idx ON public.stores USING btree (created_at, id) WHERE (paused_at IS NOT NULL);

CREATE INDEX stores_sync_status_idx ON public.stores USING btree (sync_status, created_at, id);

CREATE INDEX sync_logs_batch_idx ON public.sync_logs USING btree (store_id, created_at, id, COALESCE(next_retry_at, created_at)) WHERE ((status <> 'success'::text) AND (dead_at IS NULL));

CREATE INDEX sync_logs_dead_idx ON public.sync_logs USING btree (dead_at, id) WHERE (dead_at IS NOT NULL);

CREATE INDEX sync_logs_dead_store_idx ON public.sync_logs USING btree (store_id, dead_at, id) WHERE (dead_at IS NOT NULL);

CREATE INDEX sync_logs_due_idx ON public.sync_logs USING btree (store_id, COALESCE(next_retry_at, created_at)) WHERE ((status <> 'success'::text) AND (dead_at IS NULL));

CREATE INDEX sync_logs_rate_limited_idx ON public.sync_logs USING btree (store_id) WHERE (status = 'rate_limited'::text);

CREATE INDEX sync_logs_window_idx ON public.sync_logs USING btree (store_id, created_at DESC, id DESC, status) WHERE (status <> 'pending'::text);

CREATE INDEX webhook_endpoints_inactive_idx ON public.webhook_endpoints USING btree (id) WHERE (NOT is_active);

CREATE INDEX webhook_endpoints_open_idx ON public.webhook_endpoints USING btree (open_until, id) WHERE (open_until IS NOT NULL);

CREATE INDEX webhook_secrets_endpoint_id_idx ON public.webhook_secrets USING btree (endpoint_id, created_at, id);

ALTER TABLE callback_attempts ADD CONSTRAINT callback_attempts_delivery_id_fkey
    FOREIGN KEY (delivery_id) REFERENCES callback_deliveries(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_deliveries ADD CONSTRAINT callback_deliveries_endpoint_id_fkey
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_deliveries ADD CONSTRAINT callback_deliveries_outbox_id_fkey
    FOREIGN KEY (outbox_id) REFERENCES callback_outbox(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE callback_outbox ADD CONSTRAINT callback_outbox_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE sync_logs ADD CONSTRAINT sync_logs_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES stores(id) ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE webhook_secrets ADD CONSTRAINT webhook_secrets_endpoint_id_fkey
    FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints(id) ON UPDATE CASCADE ON DELETE CASCADE;
