DROP TABLE unfinished_events_mark;
DROP TABLE unfinished_events;
DROP TABLE event_steps;
DROP INDEX events_seq;
ALTER TABLE events
    DROP COLUMN traceparent,
    DROP COLUMN request_id;
