-- One row that keeps the cache honest while it can't be reached (src/read_cache.rs).
CREATE TABLE cache_guard (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch           bigint      NOT NULL,
    suspended_until timestamptz NOT NULL
);
INSERT INTO cache_guard (epoch, suspended_until) VALUES (1, '-infinity');
