-- The ledger. Two kinds of tables: the journal (append-only, hash-chained, decisions) and the work tables (progress of
-- records and files). What can be derived from the journal is a view over it, so that it cannot disagree with it.
-- Times are RFC 3339 in UTC. Documents are JSON.

CREATE TABLE runs (
    run      TEXT PRIMARY KEY,
    plan     TEXT NOT NULL,
    started  TEXT NOT NULL,
    -- Number of journal rows and the hash of the last one: a journal that was cut short is noticed.
    events   BIGINT NOT NULL,
    head     TEXT NOT NULL,
    -- Outcome of the last event, if that was `run_finished`.
    outcome  TEXT
);

CREATE TABLE journal (
    run   TEXT NOT NULL,
    seq   BIGINT NOT NULL,
    -- The whole event as JSON.
    body  TEXT NOT NULL,
    -- SHA-256 over the hash of the row before it (the first: of the run's name) and `body`, in hexadecimal.
    hash  TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE record_batches (
    run       TEXT NOT NULL,
    batch     TEXT NOT NULL,
    lane      TEXT NOT NULL,
    number    BIGINT NOT NULL,
    state     TEXT NOT NULL,
    from_mark TEXT,
    next_mark TEXT,
    items     BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    error     TEXT NOT NULL,
    started   TEXT,
    finished  TEXT,
    PRIMARY KEY (run, batch)
);
CREATE INDEX record_batches_by_lane ON record_batches (run, lane, number);

CREATE TABLE file_migration_batches (
    run       TEXT NOT NULL,
    batch     TEXT NOT NULL,
    lane      TEXT NOT NULL,
    number    BIGINT NOT NULL,
    state     TEXT NOT NULL,
    from_mark TEXT,
    next_mark TEXT,
    items     BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    error     TEXT NOT NULL,
    started   TEXT,
    finished  TEXT,
    PRIMARY KEY (run, batch)
);
CREATE INDEX file_migration_batches_by_lane ON file_migration_batches (run, lane, number);

CREATE TABLE record_items (
    run       TEXT NOT NULL,
    lane      TEXT NOT NULL,
    key       TEXT NOT NULL,
    batch     TEXT NOT NULL,
    state     TEXT NOT NULL,
    source    TEXT NOT NULL,
    digest    TEXT,
    bytes     BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    -- What stood in the target before the run, as JSON; written once.
    before    TEXT,
    PRIMARY KEY (run, lane, key)
);
CREATE INDEX record_items_by_batch ON record_items (run, batch);
CREATE INDEX record_items_by_state ON record_items (run, lane, state, bytes);

CREATE TABLE file_migration_records (
    run       TEXT NOT NULL,
    lane      TEXT NOT NULL,
    key       TEXT NOT NULL,
    batch     TEXT NOT NULL,
    state     TEXT NOT NULL,
    source    TEXT NOT NULL,
    digest    TEXT,
    bytes     BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    before    TEXT,
    PRIMARY KEY (run, lane, key)
);
CREATE INDEX file_migration_records_by_batch ON file_migration_records (run, batch);
CREATE INDEX file_migration_records_by_state ON file_migration_records (run, lane, state, bytes);

CREATE TABLE conflicts (
    run        TEXT NOT NULL,
    lane       TEXT NOT NULL,
    key        TEXT NOT NULL,
    legacy     TEXT NOT NULL,
    new        TEXT NOT NULL,
    resolution TEXT NOT NULL,
    at         TEXT NOT NULL,
    PRIMARY KEY (run, lane, key)
);

CREATE TABLE notes (
    run    TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (run, name)
);

-- Both kinds of lane as one, for readers that know only a lane's name.
CREATE VIEW all_batches AS
    SELECT 'records' AS kind, run, batch, lane, number, state, from_mark, next_mark, items, failed, bytes, attempts,
           error, started, finished FROM record_batches
    UNION ALL
    SELECT 'files', run, batch, lane, number, state, from_mark, next_mark, items, failed, bytes, attempts,
           error, started, finished FROM file_migration_batches;

CREATE VIEW all_items AS
    SELECT run, lane, key, batch, state, source, digest, bytes, attempts, reason, before FROM record_items
    UNION ALL
    SELECT run, lane, key, batch, state, source, digest, bytes, attempts, reason, before FROM file_migration_records;

-- Read side of the journal, under the names people know from the systems this one replaces.
CREATE VIEW migration_phases AS
    SELECT run,
           json_extract(body, '$.phase') AS phase,
           min(CASE WHEN json_extract(body, '$.kind') = 'phase_started' THEN json_extract(body, '$.at') END) AS started,
           max(CASE WHEN json_extract(body, '$.kind') = 'phase_finished' THEN json_extract(body, '$.at') END) AS finished
    FROM journal
    WHERE json_extract(body, '$.kind') IN ('phase_started', 'phase_finished')
    GROUP BY run, json_extract(body, '$.phase');

CREATE VIEW alert_events AS
    SELECT run, seq,
           json_extract(body, '$.at') AS at,
           json_extract(body, '$.kind') AS kind,
           json_extract(body, '$.id') AS alert,
           json_extract(body, '$.severity') AS severity,
           json_extract(body, '$.source') AS source,
           json_extract(body, '$.text') AS text
    FROM journal
    WHERE json_extract(body, '$.kind') IN ('alert_raised', 'alert_acknowledged', 'alert_cleared');

CREATE VIEW rollback_events AS
    SELECT run, seq,
           json_extract(body, '$.at') AS at,
           json_extract(body, '$.kind') AS kind,
           coalesce(json_extract(body, '$.stage'), json_extract(body, '$.step')) AS part,
           coalesce(json_extract(body, '$.reason'), json_extract(body, '$.summary'), json_extract(body, '$.error'))
               AS text
    FROM journal
    WHERE json_extract(body, '$.kind') IN ('veto_opened', 'veto_used', 'rollback_started', 'rollback_stage_started',
        'rollback_stage_finished', 'undo_started', 'undo_done', 'undo_failed', 'rolled_back');

-- Every check that a step or a gate made: name, verdict, value, limit.
CREATE VIEW data_validation_checkpoints AS
    SELECT journal.run, journal.seq,
           json_extract(journal.body, '$.at') AS at,
           coalesce(json_extract(journal.body, '$.step'), json_extract(journal.body, '$.phase'),
                    json_extract(journal.body, '$.stage')) AS part,
           json_extract(checked.value, '$.name') AS name,
           json_extract(checked.value, '$.verdict') AS verdict,
           json_extract(checked.value, '$.value') AS value,
           json_extract(checked.value, '$.limit') AS bound
    FROM journal, json_each(journal.body, '$.checks') AS checked
    WHERE json_extract(journal.body, '$.kind') IN
        ('step_done', 'step_failed', 'gate_approved', 'rollback_stage_finished');

-- What the run wrote down before it overwrote or created something: the way back, step by step.
CREATE VIEW backups AS
    SELECT run, seq,
           json_extract(body, '$.at') AS at,
           json_extract(body, '$.step') AS step,
           json_extract(body, '$.intent') AS intent,
           json_extract(body, '$.undo') AS undo
    FROM journal
    WHERE json_extract(body, '$.kind') = 'step_intended' AND json_extract(body, '$.undo') IS NOT NULL;
