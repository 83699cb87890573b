DROP TABLE cache_guard;
