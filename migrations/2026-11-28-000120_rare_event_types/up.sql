-- Events of a type that few have, among any number of others. The two types that most events have are
-- found by walking through all, and what writes them pays nothing for this.
CREATE INDEX events_rare_types ON events (type, id)
    WHERE type NOT IN ('TASK_CREATED', 'TASK_UPDATED');
