-- The broker in tables said why it had set a message aside under the name of a header of RabbitMQ's.
UPDATE queued_messages
SET headers = replace(headers, '"x-first-death-reason":"delivery_limit"', '"taskd-set-aside":"delivery-limit"')
WHERE headers LIKE '%"x-first-death-reason"%';
