-- Who is there, for people alone: each process that serves or works keeps a row of itself, and nothing correct depends
-- on it. All times are by this server's clock.
CREATE TABLE processes (
    id               uuid        PRIMARY KEY,
    role             text        NOT NULL CHECK (role IN ('serve', 'work', 'up')),
    name             text        NOT NULL,
    version          text        NOT NULL,
    host             text        NOT NULL,
    pid              bigint      NOT NULL,
    started_at       timestamptz NOT NULL,
    seen_at          timestamptz NOT NULL DEFAULT now(),
    -- Deliveries or requests, and since when there has always been one.
    in_hand          bigint      NOT NULL,
    busy_since       timestamptz,
    -- When it last settled a delivery, or answered a request.
    last_progress_at timestamptz
    -- Each row is updated every three seconds; without an index on what changes, and with room on its page, that
    -- leaves nothing for a vacuum to do.
) WITH (fillfactor = 50);

-- Events that `taskd doctor --canary` sends through everything, with how far each has come. A canary has no record and
-- no entry in any log, and its rows here and in `events` are deleted when it has arrived or was given up. So the message
-- of a canary that is delivered after that finds nothing, and writes nothing.
CREATE TABLE canaries (
    event_id uuid        PRIMARY KEY,
    sent_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The worker that took it.
    taken_by text,
    taken_at timestamptz,
    done_at  timestamptz
);
