//! Idempotency keys: 20,000 of them, a few whose time is over.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "claim",
        part: "INSERT INTO idempotency_keys",
        arguments: "OTHER, 'organization:org-1', 'POST /stores/register', 'key-1', 'f', NOW, NOW, NOW",
        postgres: &["idempotency_keys_identity_key"],
        sqlite: &[],
        sorts: false,
    },
    Hot {
        name: "known",
        part: "SELECT id, fingerprint, status, answer FROM idempotency_keys",
        arguments: "'organization:org-1', 'POST /stores/register', 'key-1'",
        postgres: &["idempotency_keys_identity_key"],
        sqlite: &["sqlite_autoindex_idempotency_keys_2"],
        sorts: false,
    },
    Hot {
        name: "keep",
        part: "UPDATE idempotency_keys SET status = $2, answer = $3",
        arguments: "OTHER, 200, 'answer'",
        postgres: &["idempotency_keys_pkey"],
        sqlite: &["sqlite_autoindex_idempotency_keys_1"],
        sorts: false,
    },
    Hot {
        name: "expired",
        part: "SELECT expires_at, id FROM idempotency_keys",
        arguments: "NOW, 500",
        postgres: &["idempotency_keys_expires_at_idx"],
        sqlite: &["idempotency_keys_expires_at_idx"],
        sorts: false,
    },
    Hot {
        name: "purge",
        part: "DELETE FROM idempotency_keys WHERE (expires_at, id)",
        arguments: "NOW, OTHER",
        postgres: &["idempotency_keys_expires_at_idx"],
        sqlite: &["idempotency_keys_expires_at_idx"],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO idempotency_keys (id, scope, route, idempotency_key, fingerprint, running_until,
        status, answer, created_at, expires_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS UUID), 'organization:org-' || (n % 50),
        'POST /stores/register', 'key-' || n, repeat('f', 64),
        TIMESTAMPTZ '2024-01-01 12:00:00Z', 200, repeat('a', 300),
        TIMESTAMPTZ '2023-12-31 11:00:00Z' + n * INTERVAL '4 seconds',
        TIMESTAMPTZ '2024-01-01 11:00:00Z' + n * INTERVAL '4 seconds'
    FROM generate_series(1, 20000) AS n;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 20000)
    INSERT INTO idempotency_keys (id, scope, route, idempotency_key, fingerprint, running_until,
        status, answer, created_at, expires_at)
    SELECT unhex(printf('%032x', n)), 'organization:org-' || (n % 50),
        'POST /stores/register', 'key-' || n, 'f',
        '2024-01-01T12:00:00+00:00', 200, 'answer',
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704020400 + n * 4, 'unixepoch'),
        strftime('%Y-%m-%dT%H:%M:%S+00:00', 1704106800 + n * 4, 'unixepoch')
    FROM series;";
