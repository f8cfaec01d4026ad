-- Comparisons keep what they found of records too.

DROP INDEX file_verdicts_by_verdict;
ALTER TABLE file_verdicts RENAME TO item_verdicts;
CREATE INDEX item_verdicts_by_verdict ON item_verdicts (run, lane, verdict);

-- Records that could not be moved: why, and as the source had them.
CREATE VIEW dead_letters AS
    SELECT run, lane, key, batch, attempts, reason, json_extract(facts, '$.row') AS record
    FROM record_items
    WHERE state = 'failed';
