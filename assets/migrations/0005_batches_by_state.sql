-- Which batches are under way, asked twice a second while somebody watches: found without reading those that have ended.

CREATE INDEX record_batches_by_state ON record_batches (run, state, lane, number);
CREATE INDEX file_migration_batches_by_state ON file_migration_batches (run, state, lane, number);
