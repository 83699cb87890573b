-- The change feed finds by this index what was committed late: events of transactions that were open when a follower
-- last looked.
CREATE INDEX events_transaction ON events (transaction_id, seq);

-- Up to when events may have been purged: a cursor of the feed that is older than that may have missed some.
CREATE TABLE purged_events (
    singleton        boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    -- Every purged event was published before this time.
    published_before timestamptz NOT NULL
);
-- What was purged before this migration, no cursor is older than.
INSERT INTO purged_events (published_before) VALUES (to_timestamp(0));
