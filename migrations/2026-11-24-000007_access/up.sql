ALTER TABLE users ADD COLUMN role text NOT NULL DEFAULT 'member'
    CONSTRAINT users_role_check CHECK (role IN ('admin', 'member'));

-- Sessions and API tokens. Of the token itself only the SHA-256 is kept.
CREATE TABLE tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      bigint      NOT NULL CONSTRAINT tokens_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    kind         text        NOT NULL CHECK (kind IN ('session', 'api')),
    name         text,
    hash         bytea       NOT NULL CONSTRAINT tokens_hash_key UNIQUE CHECK (octet_length(hash) = 32),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX tokens_user ON tokens (user_id, id);
CREATE INDEX tokens_expired ON tokens (expires_at) WHERE expires_at IS NOT NULL;
