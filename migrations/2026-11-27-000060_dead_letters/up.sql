-- Dead letters, moved here from the queue that isolates them. A letter is settled when it was replayed and is done, was
-- replaced by an edited event, or was discarded; then it is kept for a while.
CREATE TABLE dead_letters (
    id              text        PRIMARY KEY,
    state           text        NOT NULL DEFAULT 'open'
                    CHECK (state IN ('open', 'replaying', 'replayed', 'failed again', 'replaced', 'discarded')),
    -- Of what it says, if it can be read.
    event_id        uuid,
    event_type      text,
    subject_kind    text,
    subject_id      bigint,
    reason          text        NOT NULL,
    error           text,
    effect          text,
    attempts        integer     NOT NULL,
    first_failed_at timestamptz,
    died_at         timestamptz NOT NULL,
    moved_at        timestamptz NOT NULL DEFAULT now(),
    -- What letters of one cause have in common: the effect, the type, and the error without its numbers and ids.
    fingerprint     text        NOT NULL,
    pattern         text        NOT NULL,
    -- The message as it was: its properties and headers as JSON, and its body.
    message_id      text,
    message         text        NOT NULL,
    body            bytea       NOT NULL,
    -- The letter that this one was before it was replayed.
    replay_of       text,
    -- Whether this installation has signed it, and whether each effect of its event has had a record.
    is_ours         boolean     NOT NULL,
    recorded        boolean     NOT NULL,
    settled_at      timestamptz,
    settled_by      text,
    -- Of a letter without an id of ours, while the queue may still have it: a hash of all of it, and who moved it.
    unstamped       bytea,
    mover           uuid
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX dead_letters_state ON dead_letters (state, died_at, id);
CREATE INDEX dead_letters_group ON dead_letters (fingerprint, state, died_at, id);
CREATE INDEX dead_letters_event ON dead_letters (event_id);
CREATE INDEX dead_letters_message ON dead_letters (message_id);
CREATE INDEX dead_letters_replay_of ON dead_letters (replay_of) WHERE replay_of IS NOT NULL;
CREATE INDEX dead_letters_settled ON dead_letters (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX dead_letters_unstamped ON dead_letters (unstamped) WHERE unstamped IS NOT NULL;

-- How many open letters each cause has, so that nobody has to count a million.
CREATE TABLE dead_letter_groups (
    fingerprint text        PRIMARY KEY,
    effect      text,
    event_type  text,
    reason      text        NOT NULL,
    pattern     text        NOT NULL,
    open        bigint      NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    sample      text        NOT NULL
) WITH (fillfactor = 50);

-- Statement by statement and in one order, so that no writer can forget to count and two don't deadlock.
CREATE FUNCTION dead_letters_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dead_letter_groups AS g (fingerprint, effect, event_type, reason, pattern, open, first_at, last_at, sample)
    SELECT fingerprint, min(effect), min(event_type), min(reason), min(pattern), count(*), min(died_at), max(died_at),
           (array_agg(id ORDER BY died_at DESC))[1]
    FROM added WHERE state = 'open' GROUP BY fingerprint ORDER BY fingerprint
    ON CONFLICT (fingerprint) DO UPDATE
        SET open = g.open + excluded.open,
            -- A cause that had gone begins anew.
            first_at = CASE WHEN g.open = 0 THEN excluded.first_at ELSE least(g.first_at, excluded.first_at) END,
            last_at = CASE WHEN g.open = 0 THEN excluded.last_at ELSE greatest(g.last_at, excluded.last_at) END,
            sample = excluded.sample;
    RETURN NULL;
END
$$;

CREATE FUNCTION dead_letters_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM dead_letter_groups
    WHERE fingerprint IN (SELECT fingerprint FROM before_change) ORDER BY fingerprint FOR UPDATE;
    UPDATE dead_letter_groups g SET open = g.open + delta.open
    FROM (SELECT fingerprint, sum(open) AS open
          FROM (SELECT fingerprint, -1 AS open FROM before_change WHERE state = 'open'
                UNION ALL
                SELECT fingerprint, 1 FROM after_change WHERE state = 'open') AS every
          GROUP BY fingerprint HAVING sum(open) <> 0) AS delta
    WHERE g.fingerprint = delta.fingerprint;
    RETURN NULL;
END
$$;

CREATE FUNCTION dead_letters_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM dead_letter_groups
    WHERE fingerprint IN (SELECT fingerprint FROM removed) ORDER BY fingerprint FOR UPDATE;
    UPDATE dead_letter_groups g SET open = g.open - gone.open
    FROM (SELECT fingerprint, count(*) AS open FROM removed WHERE state = 'open' GROUP BY fingerprint) AS gone
    WHERE g.fingerprint = gone.fingerprint;
    RETURN NULL;
END
$$;

CREATE TRIGGER dead_letters_added AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_added();
CREATE TRIGGER dead_letters_changed AFTER UPDATE ON dead_letters
    REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_changed();
CREATE TRIGGER dead_letters_removed AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION dead_letters_removed();

-- A plan to replay letters: a selection, frozen when it was made, sent a few first and then the rest at a rate.
CREATE TABLE replays (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text        NOT NULL,
    selection    jsonb       NOT NULL,
    state        text        NOT NULL CHECK (state IN ('canary', 'running', 'stopping', 'stopped', 'done')),
    -- Why it stopped.
    reason       text,
    canary       integer     NOT NULL,
    -- Letters a second; null is as fast as it goes.
    rate         integer,
    -- After how many letters that failed again it stops; null is never.
    max_failures integer,
    ended_at     timestamptz,
    -- Which worker carries it out, and until when no other does.
    lease_owner  uuid,
    leased_until timestamptz
);
CREATE INDEX replays_open ON replays (id) WHERE state IN ('canary', 'running', 'stopping');

CREATE TABLE replay_letters (
    replay_id  bigint      NOT NULL REFERENCES replays (id) ON DELETE CASCADE,
    letter_id  text        NOT NULL,
    position   bigint      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('waiting', 'sending', 'sent', 'done', 'failed', 'already done', 'put back')),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (replay_id, letter_id)
);
CREATE INDEX replay_letters_state ON replay_letters (replay_id, state, position);

-- An event that takes the place of a dead letter tells of no change of its own.
ALTER TABLE events ADD COLUMN is_repetition boolean NOT NULL DEFAULT false;

-- What operators did, and who tried to sign in.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    -- A user, a token, or a user of the machine that a command ran on.
    actor      text        NOT NULL,
    action     text        NOT NULL,
    -- What it was done to.
    target     text,
    details    jsonb       NOT NULL,
    dry_run    boolean     NOT NULL,
    -- The address or the machine.
    origin     text,
    request_id text
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_action ON audit (action, id);
