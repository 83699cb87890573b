-- An effect that is still to come has a row too, once a delivery of its event has failed, and each row
-- says how many its event has in all: so whether an event is finished can be read from its rows.
ALTER TABLE processed_messages
    DROP CONSTRAINT processed_messages_state_check,
    ADD CONSTRAINT processed_messages_state_check CHECK (state IN ('open', 'claimed', 'done', 'skipped')),
    ADD COLUMN effects smallint NOT NULL DEFAULT 1;
