-- A `serve` of the version before sets no bars, and ends generations that the new version doesn't read, and the
-- other way round. So nobody uses the cache while both run: every `serve` must be replaced in this time.
-- Where no event has been written, there is nothing in a cache.
UPDATE cache_guard
SET epoch = epoch + 1, suspended_until = greatest(suspended_until, now() + interval '10 minutes')
WHERE EXISTS (SELECT FROM events);
