-- What keeps effects from running: an operator's pause, or a breaker that too many failures in a row have opened. An
-- effect without a row runs.
CREATE TABLE effect_gates (
    effect       text        PRIMARY KEY,
    paused_at    timestamptz,
    paused_by    text,
    pause_reason text,
    opened_at    timestamptz,
    -- The worker that opened the breaker, and the last error.
    opened_by    text,
    error        text,
    -- When the next message may be tried, and how many have been in vain.
    probe_at     timestamptz,
    probes       integer     NOT NULL DEFAULT 0
);

-- Messages that wait for a gate: written, then acked. A message that comes back is published, then deleted here.
CREATE TABLE parked_messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid        NOT NULL,
    -- The effect it waits for.
    effect     text        NOT NULL,
    -- It comes back then, if its gate is open. Whoever brings it back puts this off, as a lease.
    due_at     timestamptz NOT NULL,
    -- Whether due_at is a turn that it has under the effect's rate.
    has_turn   boolean     NOT NULL,
    parked_at  timestamptz NOT NULL DEFAULT now(),
    -- Who brings it back; null again if it is parked anew meanwhile.
    lease      uuid,
    -- The properties and headers as JSON, and the body.
    message    text        NOT NULL,
    body       bytea       NOT NULL,
    -- A second copy of a message takes the place of the first.
    UNIQUE (event_id, effect)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX parked_messages_due ON parked_messages (effect, due_at, id);

-- How many runs an effect has had turns for, under a rate.
CREATE TABLE effect_rates (
    effect text   NOT NULL,
    rate   text   NOT NULL,
    taken  bigint NOT NULL,
    PRIMARY KEY (effect, rate)
);
-- The last turns, as many as the rate has in a period: turn n is in place n modulo that.
CREATE TABLE effect_turns (
    effect text        NOT NULL,
    rate   text        NOT NULL,
    place  bigint      NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (effect, rate, place)
) WITH (fillfactor = 50);

-- The places of an effect that only so many may run at a time, each leased.
CREATE TABLE effect_places (
    effect       text        NOT NULL,
    place        integer     NOT NULL,
    leased_until timestamptz NOT NULL,
    lease        uuid,
    PRIMARY KEY (effect, place)
) WITH (fillfactor = 50);

-- A story also tells that a parked message came back.
ALTER TABLE event_steps DROP CONSTRAINT event_steps_kind_check;
ALTER TABLE event_steps ADD CONSTRAINT event_steps_kind_check
    CHECK (kind IN ('failed', 'parked', 'released', 'dead', 'replayed', 'discarded'));
