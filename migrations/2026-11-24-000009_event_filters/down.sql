DROP INDEX events_task;
DROP INDEX events_type;
