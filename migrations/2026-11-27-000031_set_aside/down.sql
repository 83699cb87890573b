UPDATE queued_messages
SET headers = replace(headers, '"taskd-set-aside":"delivery-limit"', '"x-first-death-reason":"delivery_limit"')
WHERE headers LIKE '%"taskd-set-aside"%';
