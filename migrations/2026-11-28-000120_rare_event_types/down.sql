DROP INDEX events_rare_types;
