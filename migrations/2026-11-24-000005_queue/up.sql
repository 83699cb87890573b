-- The broker for those who have no RabbitMQ. A message that is due is free to take; taking it puts
-- off when it is due by a lease, and acknowledging deletes it. So a delay, a lease and being free
-- are one column, and one index has them all.
CREATE TABLE queued_messages (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue        text        NOT NULL,
    due_at       timestamptz NOT NULL,
    deliveries   integer     NOT NULL DEFAULT 0,
    message_id   text,
    message_type text,
    content_type text,
    sent_at      bigint,
    headers      text        NOT NULL,
    body         bytea       NOT NULL
) WITH (
    -- Every row is updated once or more and then deleted: the dead ones must go quickly.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX queued_messages_due ON queued_messages (queue, due_at, id);
