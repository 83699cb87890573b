DROP TRIGGER tasks_change_owner ON tasks;
DROP FUNCTION tasks_change_owner();
ALTER TABLE tasks DROP COLUMN owned_since;
