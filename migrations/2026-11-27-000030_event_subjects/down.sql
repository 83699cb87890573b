COMMENT ON COLUMN task_activity.task_version IS NULL;
COMMENT ON COLUMN task_activity.task_id IS NULL;
-- Of other subjects than tasks the version before knows nothing; their ids would be read as tasks'.
DELETE FROM task_activity WHERE subject_kind <> 'task';
ALTER TABLE task_activity DROP COLUMN subject_kind;

COMMENT ON COLUMN events.task_version IS NULL;
COMMENT ON COLUMN events.task_id IS NULL;
DELETE FROM events WHERE subject_kind <> 'task';
ALTER TABLE events
    DROP CONSTRAINT events_actor_kind_check,
    DROP COLUMN transaction_id,
    DROP COLUMN user_after,
    DROP COLUMN user_before,
    DROP COLUMN causation_id,
    DROP COLUMN actor_id,
    DROP COLUMN actor_kind,
    DROP COLUMN subject_kind,
    ADD CONSTRAINT events_type_check CHECK (type IN ('TASK_CREATED', 'TASK_UPDATED', 'TASK_DELETED'));
