DROP INDEX events_task;
