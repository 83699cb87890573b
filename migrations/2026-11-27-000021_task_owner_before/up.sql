-- The same of what happened before, as far as it is on record. A migration of its own: it reads all
-- that is, and locks no task but those it changes.
UPDATE tasks SET owned_since = least(changed.version, tasks.version)
FROM (SELECT task_id, max(task_version) AS version
      FROM (SELECT task_id, task_version FROM task_activity WHERE changes ? 'userId'
            UNION ALL
            SELECT task_id, task_version FROM events WHERE payload -> 'changes' ? 'userId') AS every
      GROUP BY task_id) AS changed
WHERE tasks.id = changed.task_id AND tasks.owned_since < changed.version;
