DROP TABLE audit;
ALTER TABLE events DROP COLUMN is_repetition;
DROP TABLE replay_letters;
DROP TABLE replays;
DROP TABLE dead_letters;
DROP TABLE dead_letter_groups;
DROP FUNCTION dead_letters_removed();
DROP FUNCTION dead_letters_changed();
DROP FUNCTION dead_letters_added();
