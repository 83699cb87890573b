DROP TABLE webhook_progress;
DROP TABLE webhook_deliveries;
DROP TABLE webhooks;
DROP FUNCTION note_deleted_webhook;
DROP TABLE deleted_webhooks;
