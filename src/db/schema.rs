//! The schema of a migrated database as SQL text, the same for the same migrations.

use sqlx::query_scalar;

use super::{Db, on, sql};

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
                 ORDER BY tbl_name, type DESC, name"),
        );
        let parts: Vec<String> = on!(&mut tx, conn => query_scalar(sql).fetch_all(conn).await)?;
        tx.save().await?;
        Ok(parts.join("\n\n") + "\n")
    }
}

/// PostgreSQL keeps no text: it is put together from the catalogue.
const POSTGRES: &str = r#"
SELECT part FROM (
    SELECT c.relname AS owner, 1 AS place, c.relname AS name,
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
                E',\n    ' ORDER BY k.conname)
            FROM pg_constraint AS k
            WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'f')
        ), '') || E'\n);' AS part
    FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
      AND c.relname <> '_sqlx_migrations'
    UNION ALL
    SELECT t.relname, 2, i.relname, pg_get_indexdef(i.oid) || ';'
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND t.relname <> '_sqlx_migrations'
      AND NOT EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u'))
) AS parts
ORDER BY owner COLLATE "C", place, name COLLATE "C""#;
