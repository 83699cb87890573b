DROP TABLE task_activity;
DROP TABLE processed_messages;
