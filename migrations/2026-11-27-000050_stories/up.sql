-- What operators want to know of an event: the request that made it, what has failed since, and which events are
-- not done. The success path writes nothing of this but the two columns.
ALTER TABLE events
    ADD COLUMN request_id  text,
    -- The W3C trace context of that request.
    ADD COLUMN traceparent text;

-- By this index the events that have come since the last look are found.
CREATE INDEX events_seq ON events (seq);

-- What has happened to an event apart from what went well: a row for each failed attempt and effect, and one for each
-- time it was parked, died, was replayed or was discarded. No foreign key: it outlives its event.
CREATE TABLE event_steps (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    uuid        NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    kind        text        NOT NULL CHECK (kind IN ('failed', 'parked', 'dead', 'replayed', 'discarded')),
    -- The attempt, from 1, and how many retries there are in all.
    attempt     integer     NOT NULL,
    retries     integer     NOT NULL,
    -- NAME or NAME/TARGET; null if it concerns the whole message.
    effect      text,
    -- The worker, or whoever replayed or discarded it.
    actor       text        NOT NULL,
    message     text        NOT NULL,
    -- When the message comes back by itself.
    next_try_at timestamptz,
    -- The dead letter that it became, was, or was replayed from.
    letter_id   text
);
CREATE INDEX event_steps_event ON event_steps (event_id, id);
CREATE INDEX event_steps_at ON event_steps (at);

-- Events that are not done. Workers write the rows of what failed; those of what still waits in the queue are written
-- a few seconds after the event, by whoever keeps this list (src/operate/unfinished.rs). A row may be there for a
-- moment when its event is done already.
CREATE TABLE unfinished_events (
    event_id    uuid        PRIMARY KEY,
    state       text        NOT NULL CHECK (state IN ('queued', 'retrying', 'parked', 'dead')),
    since       timestamptz NOT NULL DEFAULT now(),
    attempt     integer,
    retries     integer,
    effect      text,
    reason      text,
    next_try_at timestamptz,
    letter_id   text
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX unfinished_events_state ON unfinished_events (state, event_id);

-- How far that list has been brought up to date. `seq` does not follow the order of commits: up to `next_seq` all is
-- committed only when each transaction before `next_xid` has ended.
CREATE TABLE unfinished_events_mark (
    singleton boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    seq       bigint      NOT NULL,
    next_seq  bigint      NOT NULL,
    next_xid  xid8        NOT NULL,
    noted_at  timestamptz NOT NULL
);
INSERT INTO unfinished_events_mark (seq, next_seq, next_xid, noted_at) VALUES (0, 0, '0', '-infinity');
