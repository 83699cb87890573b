-- What it wrote goes with its column.
SELECT 1;
