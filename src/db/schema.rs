//! The schema of a migrated database as SQL text, the same for the same migrations.
//!
//! It makes the same schema in an empty database: tables first, then indexes, then, on
//! PostgreSQL, the foreign keys, which may point at a table that comes later.

use sqlx::query_scalar;

use super::{Db, on, sql};

const HEADER: &str =
    "-- Made from the migrations by `marketplace-sync export-schema`; do not edit.";

impl Db {
    /// Tables and indexes, in the order of their names; those of the tools are left out.
    pub async fn schema(&self) -> sqlx::Result<String> {
        let mut tx = self.read().await?;
        let sql = tx.pick(
            sql!(postgres: POSTGRES),
            // The jobs are apalis's own tables, and not part of what we promise.
            sql!(sqlite:
                "SELECT sql || ';'
                 FROM sqlite_schema
                 WHERE sql IS NOT NULL
                   AND tbl_name NOT IN ('_sqlx_migrations', 'Jobs', 'Workers')
                   AND tbl_name NOT LIKE '\\_apalis%' ESCAPE '\\'
                   AND tbl_name NOT LIKE 'job\\_%' ESCAPE '\\'
                   AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                 ORDER BY type DESC, tbl_name, name"),
        );
        let parts: Vec<String> = on!(&mut tx, conn => query_scalar(sql).fetch_all(conn).await)?;
        tx.save().await?;
        Ok(format!("{HEADER}\n\n{}\n", parts.join("\n\n")))
    }
}

/// PostgreSQL keeps no text: it is put together from the catalogue.
const POSTGRES: &str = r#"
SELECT part FROM (
    SELECT 1 AS place, c.relname AS owner, c.relname AS name,
        'CREATE TABLE ' || c.relname || E' (\n    ' || (
            SELECT string_agg(
                a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                    || COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
                    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                E',\n    ' ORDER BY a.attnum)
            FROM pg_attribute AS a
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ) || COALESCE((
            SELECT E',\n    ' || string_agg(
                'CONSTRAINT ' || k.conname || ' ' || pg_get_constraintdef(k.oid),
                E',\n    ' ORDER BY k.conname COLLATE "C")
            FROM pg_constraint AS k
            WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'x')
        ), '') || E'\n);' AS part
    FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 2, t.relname, i.relname, pg_get_indexdef(i.oid) || ';'
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace
      AND NOT EXISTS (
          SELECT 1 FROM pg_constraint AS k
          WHERE k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 3, t.relname, k.conname,
        'ALTER TABLE ' || t.relname || ' ADD CONSTRAINT ' || k.conname
            || E'\n    ' || pg_get_constraintdef(k.oid) || ';'
    FROM pg_constraint AS k
    JOIN pg_class AS t ON t.oid = k.conrelid
    WHERE t.relnamespace = 'public'::regnamespace AND k.contype = 'f'
) AS parts
WHERE owner <> '_sqlx_migrations'
ORDER BY place, owner COLLATE "C", name COLLATE "C""#;
