-- For operators who look for the events of one task.
CREATE INDEX events_task ON events (task_id, id);
