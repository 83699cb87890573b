-- For operators who look for the events of one task, or of a type that is rare.
CREATE INDEX events_task ON events (task_id, id);
CREATE INDEX events_type ON events (type, id);
