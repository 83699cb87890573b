DROP TABLE purged_events;
DROP INDEX events_transaction;
