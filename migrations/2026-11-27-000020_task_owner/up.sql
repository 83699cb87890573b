-- Since which version a task has been its user's: what was logged before is none of that user's
-- business. A trigger keeps it, so that no writer can forget to; its condition costs other updates
-- next to nothing.
ALTER TABLE tasks ADD COLUMN owned_since bigint NOT NULL DEFAULT 1;

CREATE FUNCTION tasks_change_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.owned_since := NEW.version;
    RETURN NEW;
END
$$;

CREATE TRIGGER tasks_change_owner BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.user_id IS DISTINCT FROM OLD.user_id)
    EXECUTE FUNCTION tasks_change_owner();
