-- As on the way up: the version before and the one after must not use the cache at the same time.
UPDATE cache_guard
SET epoch = epoch + 1, suspended_until = greatest(suspended_until, now() + interval '10 minutes')
WHERE EXISTS (SELECT FROM events);
