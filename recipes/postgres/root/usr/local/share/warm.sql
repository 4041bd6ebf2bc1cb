-- Run once before the machine is frozen, when the server answers: reads into its caches what the first queries
-- of a fork need. Nothing of it stays.
BEGIN;
CREATE TABLE warm (id bigserial PRIMARY KEY, name text NOT NULL, data jsonb, at timestamptz DEFAULT now());
INSERT INTO warm (name, data) SELECT 'n' || n, jsonb_build_object('n', n) FROM generate_series(1, 1000) n;
CREATE INDEX ON warm (name);
ANALYZE warm;
UPDATE warm SET name = upper(name) WHERE id % 10 = 0;
DELETE FROM warm WHERE id > 900;
SELECT a.name, count(*), sum((b.data ->> 'n')::int), max(b.at)
  FROM warm a LEFT JOIN warm b ON b.id = a.id + 1 GROUP BY a.name ORDER BY 2 DESC, 1 LIMIT 3;
SELECT id, row_number() OVER (ORDER BY name) FROM warm WHERE name LIKE 'N1%' LIMIT 3;
SELECT gen_random_uuid(), random(), pg_size_pretty(pg_total_relation_size('warm'));
DO $$ BEGIN PERFORM count(*) FROM warm; END $$;
COPY (SELECT * FROM warm LIMIT 3) TO STDOUT;
EXPLAIN ANALYZE SELECT * FROM warm WHERE id = 5;
ROLLBACK;
SELECT schemaname, tablename FROM pg_tables LIMIT 1;
CHECKPOINT;
