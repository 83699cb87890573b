DROP TABLE queued_messages;
