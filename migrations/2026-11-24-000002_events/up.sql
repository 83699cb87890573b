-- The transactional outbox: a row is written in the statement that changes the task.
-- Room is left on each page so that leasing a row need not touch the indexes.
CREATE TABLE events (
    id           uuid        PRIMARY KEY,
    seq          bigint      GENERATED ALWAYS AS IDENTITY,
    task_id      bigint      NOT NULL,
    task_version bigint      NOT NULL,
    type         text        NOT NULL CHECK (type IN ('TASK_CREATED', 'TASK_UPDATED', 'TASK_DELETED')),
    payload      jsonb       NOT NULL,
    occurred_at  timestamptz NOT NULL,
    lease_owner  uuid,
    leased_until timestamptz,
    published_at timestamptz
) WITH (fillfactor = 80);

-- What the publisher looks for; its size is the backlog, however old the table is.
CREATE INDEX events_unpublished ON events (seq) WHERE published_at IS NULL;
