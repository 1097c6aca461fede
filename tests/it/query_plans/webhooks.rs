//! Events and deliveries: 600 endpoints and 100,000 events, owed to two endpoints each, half of
//! them to one, and tried once; one in a hundred is still pending, one in fifty was given up.

use marketplace_sync::db::Db;

use super::{ALONE, Domain, Hot, KNOW_EVERY_ROW, assert_none, faults_on_postgres};
use crate::support::app::Profile::Server;
use crate::support::database::TestDatabase;

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "subscribers",
        part: "AS is_reachable FROM webhook_endpoints",
        arguments: "'org-1', 'sync.completed', NOW",
        postgres: &["webhook_endpoints_identity_key"],
        sqlite: &["sqlite_autoindex_webhook_endpoints_2"],
        sorts: true,
    },
    Hot {
        name: "owed_events",
        part: "d.id AS delivery_id, d.attempt AS delivery_attempt",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW"#,
        postgres: &[
            "callback_deliveries_identity_key",
            "callback_deliveries_pending_endpoint_idx",
            "callback_outbox_pkey",
            "webhook_endpoints_pkey",
            "webhook_secrets_endpoint_id_idx",
        ],
        sqlite: &[
            "callback_deliveries_pending_endpoint_idx",
            "sqlite_autoindex_callback_deliveries_2",
            "sqlite_autoindex_callback_outbox_1",
            "sqlite_autoindex_webhook_endpoints_1",
            "webhook_secrets_endpoint_id_idx",
        ],
        sorts: true,
    },
    Hot {
        name: "claim_deliveries",
        part: "UPDATE callback_deliveries SET lease_token = $2, lease_expires_at = $3",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', OTHER, NOW, NOW"#,
        postgres: &["callback_deliveries_pkey"],
        sqlite: &["sqlite_autoindex_callback_deliveries_1"],
        sorts: true,
    },
    Hot {
        name: "write_outcomes",
        part: "http_status = o.http_status, attempt = o.failures",
        arguments: r#"'[{"id": "00000000-0000-0000-0000-000000000001", "delivery_id": "00000000-0000-0000-0000-000000000001", "lease_token": "00000000-0000-0000-0000-000000000002", "status": "success", "failures": 0}]', NOW"#,
        postgres: &[
            "callback_deliveries_identity_key",
            "callback_deliveries_pkey",
            "webhook_endpoints_pkey",
        ],
        sqlite: &[
            "sqlite_autoindex_callback_deliveries_1",
            "sqlite_autoindex_callback_deliveries_2",
            "sqlite_autoindex_webhook_endpoints_1",
        ],
        sorts: false,
    },
    Hot {
        name: "delivery_states",
        part: "SELECT outbox_id, endpoint_id, status, attempt, next_attempt_at, last_error FROM callback_deliveries",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]'"#,
        postgres: &["callback_deliveries_identity_key"],
        sqlite: &["sqlite_autoindex_callback_deliveries_2"],
        sorts: true,
    },
    Hot {
        name: "write_event_states",
        part: "SET status = s.status, attempt = s.attempt",
        arguments: r#"'[{"id": "00000000-0000-0000-0000-000000000001", "status": "success", "attempt": 0}]', NOW"#,
        postgres: &["callback_outbox_pkey"],
        sqlite: &["sqlite_autoindex_callback_outbox_1"],
        sorts: false,
    },
    Hot {
        name: "free_slots",
        part: "RETURNING id, status, next_retry_at",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]'"#,
        postgres: &["callback_outbox_pkey"],
        sqlite: &["sqlite_autoindex_callback_outbox_1"],
        sorts: true,
    },
    Hot {
        name: "due_endpoints",
        part: "SELECT d.id, d.created_at, d.is_ordered",
        arguments: "'00000000-0000-0000-0000-000000000000', NOW, 100",
        postgres: &["callback_deliveries_due_idx", "webhook_endpoints_pkey"],
        sqlite: &[
            "callback_deliveries_due_idx",
            "sqlite_autoindex_webhook_endpoints_1",
        ],
        sorts: false,
    },
    Hot {
        name: "is_busy",
        part: "SELECT EXISTS ( SELECT 1 FROM ( SELECT lease_expires_at FROM callback_deliveries WHERE endpoint_id = $1",
        arguments: "STORE, NOW",
        postgres: &["callback_deliveries_due_idx"],
        sqlite: &["callback_deliveries_due_idx"],
        sorts: false,
    },
    Hot {
        name: "due_events",
        part: "AS due_at, id AS delivery_id FROM callback_deliveries WHERE endpoint_id = $1 AND status = 'pending' AND (",
        arguments: "STORE, '1970-01-01T00:00:00Z', OTHER, NOW, 100",
        postgres: &["callback_deliveries_due_idx"],
        sqlite: &["callback_deliveries_due_idx"],
        sorts: false,
    },
    Hot {
        name: "first_event",
        part: "SELECT head.outbox_id, head.due_at",
        arguments: "STORE, NOW",
        postgres: &[
            "callback_deliveries_pending_endpoint_idx",
            "webhook_endpoints_pkey",
        ],
        sqlite: &[
            "callback_deliveries_pending_endpoint_idx",
            "sqlite_autoindex_webhook_endpoints_1",
        ],
        sorts: false,
    },
    Hot {
        name: "waiting_events",
        part: "SELECT e.id AS endpoint_id, (",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW"#,
        postgres: &[
            "callback_deliveries_due_idx",
            "callback_outbox_pkey",
            "webhook_endpoints_pkey",
        ],
        sqlite: &[
            "callback_deliveries_due_idx",
            "sqlite_autoindex_callback_outbox_1",
            "sqlite_autoindex_webhook_endpoints_1",
        ],
        sorts: true,
    },
    Hot {
        name: "oldest_pending",
        part: "SELECT MIN(created_at) FROM callback_outbox WHERE status = 'pending'$",
        arguments: "",
        postgres: &["callback_outbox_pending_idx"],
        sqlite: &["callback_outbox_pending_idx"],
        sorts: false,
    },
    Hot {
        name: "claim_slots",
        part: "o.status = 'pending' AND (o.enqueued_until IS NULL OR o.enqueued_until <= $3)",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["callback_outbox_pkey"],
        sqlite: &["sqlite_autoindex_callback_outbox_1"],
        sorts: true,
    },
    Hot {
        name: "move_slots",
        part: "UPDATE callback_outbox SET enqueued_until = $3",
        arguments: r#"'["00000000-0000-0000-0000-000000000001"]', NOW, NOW"#,
        postgres: &["callback_outbox_pkey"],
        sqlite: &["sqlite_autoindex_callback_outbox_1"],
        sorts: true,
    },
    Hot {
        name: "signing_secrets",
        part: "SELECT id, secret FROM webhook_secrets WHERE endpoint_id",
        arguments: "STORE, NOW",
        postgres: &["webhook_secrets_endpoint_id_idx"],
        sqlite: &["webhook_secrets_endpoint_id_idx"],
        sorts: true,
    },
    Hot {
        name: "last_to_purge",
        part: "SELECT updated_at, id FROM ( SELECT",
        arguments: "NOW, 500",
        postgres: &["callback_outbox_done_idx"],
        sqlite: &["callback_outbox_done_idx"],
        sorts: true,
    },
    Hot {
        name: "purge_events",
        part: "DELETE FROM callback_outbox WHERE status = 'success'",
        arguments: "'2023-06-01T00:01:00Z', OTHER",
        postgres: &["callback_outbox_done_idx"],
        sqlite: &[
            "callback_outbox_done_idx",
            "sqlite_autoindex_callback_deliveries_2",
        ],
        sorts: false,
    },
    Hot {
        name: "purge_dead_letters",
        part: "DELETE FROM callback_outbox WHERE status = 'failed'",
        arguments: "NOW, 500",
        postgres: &["callback_outbox_failed_idx"],
        sqlite: &[
            "callback_outbox_failed_idx",
            "sqlite_autoindex_callback_deliveries_2",
        ],
        sorts: true,
    },
    Hot {
        name: "overdue_held_deliveries",
        part: "UNION ALL SELECT id FROM webhook_endpoints WHERE is_active AND open_until",
        arguments: "NOW, 500",
        postgres: &[
            "callback_deliveries_due_idx",
            "webhook_endpoints_inactive_idx",
            "webhook_endpoints_open_idx",
        ],
        sqlite: &[
            "callback_deliveries_due_idx",
            "webhook_endpoints_inactive_idx",
            "webhook_endpoints_open_idx",
        ],
        sorts: false,
    },
    Hot {
        name: "forget_attempts",
        part: "DELETE FROM callback_attempts",
        arguments: "STORE, 50",
        postgres: &[
            "callback_attempts_delivery_id_idx",
            "callback_attempts_pkey",
            "callback_deliveries_identity_key",
        ],
        sqlite: &[
            "callback_attempts_delivery_id_idx",
            "sqlite_autoindex_callback_attempts_1",
            "sqlite_autoindex_callback_deliveries_2",
        ],
        sorts: true,
    },
];

/// What is done with events and deliveries whose ids are known.
const BY_ID: [&str; 7] = [
    "owed_events",
    "claim_deliveries",
    "write_outcomes",
    "delivery_states",
    "write_event_states",
    "free_slots",
    "claim_slots",
];

/// A burst is worked off long before PostgreSQL looks at the tables again. By statistics that know of
/// nothing pending, reading all that is pending costs no more than to look up one of it.
#[tokio::test]
async fn statistics_from_before_a_burst_change_no_plan() {
    let database = TestDatabase::create(Server).await;
    let db = Db::connect(database.url(), 2).await.unwrap();
    db.migrate().await.unwrap();
    let Db::Postgres(pool) = &db else {
        panic!("the server profile is on PostgreSQL")
    };
    for sql in [ALONE, SEED_POSTGRES, SETTLE, KNOW_EVERY_ROW, BURST] {
        sqlx::raw_sql(sql).execute(pool).await.unwrap();
    }
    let by_id = HOT.iter().filter(|hot| BY_ID.contains(&hot.name));
    assert_eq!(by_id.clone().count(), BY_ID.len());
    assert_none(&faults_on_postgres(by_id, pool).await, Server);
}

/// As if nothing had ever been pending.
const SETTLE: &str = "
    UPDATE callback_outbox SET status = 'success' WHERE status = 'pending';
    UPDATE callback_deliveries
    SET status = 'success', lease_token = NULL, lease_expires_at = NULL
    WHERE status = 'pending';
    REINDEX TABLE callback_outbox;
    REINDEX TABLE callback_deliveries";

/// 10,000 events at once, for one endpoint each.
const BURST: &str = "
    INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
        created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 200),
        CAST(lpad(to_hex(1 + n % 200), 32, '0') AS UUID), 'sync.completed', '{}', 'pending',
        TIMESTAMPTZ '2024-01-01 11:00:00Z', TIMESTAMPTZ '2024-01-01 11:00:00Z'
    FROM generate_series(100001, 110000) AS n;
    INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n * 2), 32, '0') AS UUID), CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(1 + n % 40), 32, '0') AS UUID), 'pending',
        TIMESTAMPTZ '2024-01-01 11:00:00Z', TIMESTAMPTZ '2024-01-01 11:00:00Z'
    FROM generate_series(100001, 110000) AS n";

const SEED_POSTGRES: &str = "
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || n, 'etsy', 'shop', 'Shop', 'token',
        'USD', CAST(lpad(to_hex(n), 32, '0') AS UUID), TIMESTAMPTZ '2023-01-01 00:00:00Z',
        TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 200) AS n;
    INSERT INTO webhook_endpoints (id, organization_id, event, target_url, is_active, created_at,
        updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 200), 'sync.completed',
        'https://example.com/' || n, n % 10 > 0, TIMESTAMPTZ '2023-01-01 00:00:00Z',
        TIMESTAMPTZ '2023-01-01 00:00:00Z'
    FROM generate_series(1, 600) AS n;
    INSERT INTO webhook_secrets (id, endpoint_id, secret, created_at)
    SELECT id, id, 'secret', created_at FROM webhook_endpoints;
    INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
        created_at, updated_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'org-' || (n % 200),
        CAST(lpad(to_hex(1 + n % 200), 32, '0') AS UUID), 'sync.completed', '{}',
        CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 100000) AS n;
    INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, lease_token,
        lease_expires_at, created_at, updated_at)
    SELECT CAST(lpad(to_hex(n * 2 + e), 32, '0') AS UUID),
        CAST(lpad(to_hex(n), 32, '0') AS UUID),
        CAST(lpad(to_hex(CASE e WHEN 0 THEN 1 ELSE 2 + n % 599 END), 32, '0') AS UUID),
        CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        CASE WHEN n % 10000 = 0 THEN CAST(lpad(to_hex(n), 32, '0') AS UUID) END,
        CASE WHEN n % 10000 = 0 THEN TIMESTAMPTZ '2024-01-01 12:00:10Z' END,
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second',
        TIMESTAMPTZ '2023-06-01 00:00:00Z' + n * INTERVAL '1 second'
    FROM generate_series(1, 100000) AS n, generate_series(0, 1) AS e;
    INSERT INTO callback_attempts (id, delivery_id, attempt, started_at, duration_ms)
    SELECT id, id, 1, created_at, 5 FROM callback_deliveries;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 200)
    INSERT INTO stores (id, organization_id, marketplace, external_store_id, store_name,
        access_token, currency, sync_token, created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || n, 'etsy', 'shop', 'Shop', 'token', 'USD',
        unhex(printf('%032x', n)), '2023-01-01T00:00:00+00:00', '2023-01-01T00:00:00+00:00'
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 600)
    INSERT INTO webhook_endpoints (id, organization_id, event, target_url, is_active, created_at,
        updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 200), 'sync.completed',
        'https://example.com/' || n, n % 10 > 0, '2023-01-01T00:00:00+00:00',
        '2023-01-01T00:00:00+00:00'
    FROM series;
    INSERT INTO webhook_secrets (id, endpoint_id, secret, created_at)
    SELECT id, id, 'secret', created_at FROM webhook_endpoints;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 100000)
    INSERT INTO callback_outbox (id, organization_id, store_id, event, payload, status,
        created_at, updated_at)
    SELECT unhex(printf('%032x', n)), 'org-' || (n % 200), unhex(printf('%032x', 1 + n % 200)),
        'sync.completed', '{}', CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series;
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 100000)
    INSERT INTO callback_deliveries (id, outbox_id, endpoint_id, status, lease_token,
        lease_expires_at, created_at, updated_at)
    SELECT unhex(printf('%032x', n * 2 + e.value)), unhex(printf('%032x', n)),
        unhex(printf('%032x', CASE e.value WHEN 0 THEN 1 ELSE 2 + n % 599 END)),
        CASE WHEN n % 100 = 0 THEN 'pending' WHEN n % 50 = 1 THEN 'failed' ELSE 'success' END,
        CASE WHEN n % 10000 = 0 THEN unhex(printf('%032x', n)) END,
        CASE WHEN n % 10000 = 0 THEN '2024-01-01T12:00:10+00:00' END,
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1685577600 + n, 'unixepoch')
    FROM series, json_each('[0, 1]') AS e;
    INSERT INTO callback_attempts (id, delivery_id, attempt, started_at, duration_ms)
    SELECT id, id, 1, created_at, 5 FROM callback_deliveries;";
