-- Whatever is parked is a message that is nowhere else.
DO $$
BEGIN
    IF EXISTS (SELECT FROM parked_messages) THEN
        RAISE EXCEPTION 'there are parked messages: resume their effects and wait until they are done';
    END IF;
END
$$;
DELETE FROM event_steps WHERE kind = 'released';
ALTER TABLE event_steps DROP CONSTRAINT event_steps_kind_check;
ALTER TABLE event_steps ADD CONSTRAINT event_steps_kind_check
    CHECK (kind IN ('failed', 'parked', 'dead', 'replayed', 'discarded'));
DROP TABLE effect_places;
DROP TABLE effect_turns;
DROP TABLE effect_rates;
DROP TABLE parked_messages;
DROP TABLE effect_gates;
