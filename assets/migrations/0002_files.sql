-- What the listing said of a file, the kind of its last error, long files on their way up in parts, and what comparisons
-- found. Times are RFC 3339 in UTC. Documents are JSON.

DROP VIEW all_items;

ALTER TABLE record_items ADD COLUMN error TEXT;
ALTER TABLE record_items ADD COLUMN facts TEXT;
ALTER TABLE file_migration_records ADD COLUMN error TEXT;
ALTER TABLE file_migration_records ADD COLUMN facts TEXT;

CREATE VIEW all_items AS
    SELECT run, lane, key, batch, state, source, digest, bytes, attempts, error, reason, facts, before
    FROM record_items
    UNION ALL
    SELECT run, lane, key, batch, state, source, digest, bytes, attempts, error, reason, facts, before
    FROM file_migration_records;

CREATE TABLE file_uploads (
    run       TEXT NOT NULL,
    lane      TEXT NOT NULL,
    key       TEXT NOT NULL,
    upload    TEXT NOT NULL,
    version   TEXT,
    size      BIGINT NOT NULL,
    part_size BIGINT NOT NULL,
    PRIMARY KEY (run, lane, key)
);

CREATE TABLE file_parts (
    run    TEXT NOT NULL,
    lane   TEXT NOT NULL,
    key    TEXT NOT NULL,
    number BIGINT NOT NULL,
    tag    TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size   BIGINT NOT NULL,
    PRIMARY KEY (run, lane, key, number)
);

CREATE TABLE file_verdicts (
    run     TEXT NOT NULL,
    lane    TEXT NOT NULL,
    key     TEXT NOT NULL,
    verdict TEXT NOT NULL,
    detail  TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (run, lane, key)
);
CREATE INDEX file_verdicts_by_verdict ON file_verdicts (run, lane, verdict);
