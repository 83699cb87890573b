DROP TABLE tasks;
DROP TABLE categories;
DROP TABLE users;
-- pg_trgm stays: another schema of this database may use it.
