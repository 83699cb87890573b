-- Up to when each user has used up its pace of mails (src/domain/rate.rs); one row for each who has
-- had any. No foreign key: a mail may be due for a user who is being deleted. What is left of those
-- is a few bytes.
CREATE TABLE mail_limits (
    user_id     bigint      PRIMARY KEY,
    ahead_until timestamptz NOT NULL
) WITH (fillfactor = 50);
