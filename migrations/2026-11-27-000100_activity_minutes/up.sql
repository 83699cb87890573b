-- What was done in each minute, over all processes, for people alone: each process adds what its own counters have
-- gained, every ten seconds. So nothing is written for an event, a minute without work has no row, and a process that
-- is killed takes its last seconds with it.
CREATE TABLE activity_minutes (
    minute    timestamptz PRIMARY KEY,
    -- Events written and published.
    created   bigint      NOT NULL,
    published bigint      NOT NULL,
    -- Deliveries by how they ended.
    processed bigint      NOT NULL,
    retried   bigint      NOT NULL,
    dead      bigint      NOT NULL,
    -- How many first attempts began how long after their commit: a count for each bucket of
    -- src/ground/telemetry/activity.rs.
    road      bigint[]    NOT NULL
    -- The row of this minute is updated often; without an index on what changes, and with room on its page, that leaves
    -- nothing for a vacuum to do.
) WITH (fillfactor = 50);
