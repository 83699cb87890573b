-- What was answered to a POST with an Idempotency-Key, written in the transaction of the POST.
-- Of the request there is only a hash, and none of a secret in it (src/http/idempotency_key.rs).
CREATE TABLE idempotency_keys (
    caller      text        NOT NULL,
    route       text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    status      smallint    NOT NULL,
    headers     jsonb       NOT NULL,
    body        bytea       NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (caller, route, key)
);
CREATE INDEX idempotency_keys_expires_at ON idempotency_keys (expires_at);
