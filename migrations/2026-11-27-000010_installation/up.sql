-- One row that tells this installation from every other. A copy of the database has the same, so what must
-- not meet (keys in a shared Redis) is also told apart by the server and the database that have the row.
CREATE TABLE installation (
    singleton      boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    id             uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- Signs what is published to the broker.
    message_key    bytea       NOT NULL CHECK (octet_length(message_key) = 32),
    -- Until then messages are also taken that are not signed, or were changed by a process of the version
    -- before, which does not sign.
    unsigned_until timestamptz NOT NULL
);
-- Where no event has been written there is no message from before either.
INSERT INTO installation (message_key, unsigned_until)
SELECT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')),
       CASE WHEN EXISTS (SELECT FROM events) THEN now() + interval '7 days' ELSE '-infinity' END;
