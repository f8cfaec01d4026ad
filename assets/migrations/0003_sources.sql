-- Which files of the legacy bucket are spoken of, and lists of a state in key order.

CREATE INDEX file_migration_records_by_source ON file_migration_records (run, lane, source);
