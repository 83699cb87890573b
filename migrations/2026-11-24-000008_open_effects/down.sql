-- Without the state an open effect is one that has no row.
DELETE FROM processed_messages WHERE state = 'open';
ALTER TABLE processed_messages
    DROP COLUMN effects,
    DROP CONSTRAINT processed_messages_state_check,
    ADD CONSTRAINT processed_messages_state_check CHECK (state IN ('claimed', 'done', 'skipped'));
