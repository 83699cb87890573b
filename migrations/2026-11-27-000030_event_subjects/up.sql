-- Events are about subjects, of which tasks are one kind; the schemas of taskd say which types there
-- are. Who made the change, from which event it follows, whose the subject was and is, and in which
-- transaction it was written. Processes of the version before insert without all this, so it has
-- defaults or may be null.
ALTER TABLE events
    DROP CONSTRAINT events_type_check,
    ADD COLUMN subject_kind   text NOT NULL DEFAULT 'task',
    ADD COLUMN actor_kind     text,
    ADD COLUMN actor_id       bigint,
    ADD COLUMN causation_id   uuid,
    ADD COLUMN user_before    bigint,
    ADD COLUMN user_after     bigint,
    ADD COLUMN transaction_id xid8;
-- Apart from the above, these need no look at the rows there are: a default that were added with its
-- column would rewrite the table.
ALTER TABLE events ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id();
ALTER TABLE events ADD CONSTRAINT events_actor_kind_check
    CHECK (actor_kind IN ('user', 'token', 'operator', 'system')) NOT VALID;
COMMENT ON COLUMN events.task_id IS 'The id of the subject, whatever its kind';
COMMENT ON COLUMN events.task_version IS 'The version of the subject after the change';

ALTER TABLE task_activity ADD COLUMN subject_kind text NOT NULL DEFAULT 'task';
COMMENT ON COLUMN task_activity.task_id IS 'The id of the subject, whatever its kind';
COMMENT ON COLUMN task_activity.task_version IS 'The version of the subject after the change';
