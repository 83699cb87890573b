-- One row for each (event, effect): who runs it, or that it is done.
CREATE TABLE processed_messages (
    event_id      uuid        NOT NULL,
    effect        text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('claimed', 'done', 'skipped')),
    claimed_by    text,
    claimed_until timestamptz,
    note          text,
    touched_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, effect)
);
CREATE INDEX processed_messages_touched_at ON processed_messages (touched_at);

-- No foreign key: the log outlives the task.
CREATE TABLE task_activity (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid        NOT NULL,
    task_id      bigint      NOT NULL,
    task_version bigint      NOT NULL,
    type         text        NOT NULL,
    changes      jsonb,
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX task_activity_task ON task_activity (task_id, task_version, id);
CREATE INDEX task_activity_recorded_at ON task_activity (recorded_at);
