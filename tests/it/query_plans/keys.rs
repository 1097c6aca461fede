//! 5,000 keys.

use super::{Domain, Hot};

pub(super) const DOMAIN: Domain = Domain {
    hot: HOT,
    seed_postgres: SEED_POSTGRES,
    seed_sqlite: SEED_SQLITE,
};

const HOT: &[Hot] = &[
    Hot {
        name: "key_by_hash",
        part: "FROM api_keys WHERE hash = $1",
        arguments: "'0000000000000000000000000000000000000000000000000000000000000001'",
        postgres: &["api_keys_hash_key"],
        sqlite: &["sqlite_autoindex_api_keys_2"],
        sorts: false,
    },
    Hot {
        name: "note_use",
        part: "SET last_used_at = $2",
        arguments: "STORE, NOW",
        postgres: &["api_keys_pkey"],
        sqlite: &["sqlite_autoindex_api_keys_1"],
        sorts: false,
    },
];

const SEED_POSTGRES: &str = "
    INSERT INTO api_keys (id, organization_id, prefix, hash, scope, created_at)
    SELECT gen_random_uuid(), 'org-' || n, 'mps_aaaaaaaa', LPAD(CAST(n AS TEXT), 64, '0'),
        'write', '2024-01-01T00:00:00Z'
    FROM generate_series(1, 5000) AS n;";

const SEED_SQLITE: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5000)
    INSERT INTO api_keys (id, organization_id, prefix, hash, scope, created_at)
    SELECT randomblob(16), 'org-' || n, 'mps_aaaaaaaa', PRINTF('%064d', n), 'write',
        '2024-01-01T00:00:00Z'
    FROM numbers;";
