-- The dead letters of one task, without reading those of all others: 19 MB for a million letters.
CREATE INDEX dead_letters_task ON dead_letters (subject_id, state) WHERE subject_kind = 'task';
