//! Defaults of the plan and the bounds of its times and counts, in one place (sources: the seeds' defaults, and what the
//! rehearsals showed to be usable).

use std::{ops::RangeInclusive, time::Duration};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// One answer, one program.
pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=HOUR;
/// How far behind the clock of a store a change may become visible.
pub(super) const OVERLAP: Duration = Duration::from_secs(10);
/// How often everything that was carried is asked for again.
pub(super) const SWEEP: Duration = Duration::from_mins(10);
/// How often something is measured.
pub(super) const CADENCES: RangeInclusive<Duration> = Duration::from_millis(50)..=HOUR;
/// Windows of rules, lengths of phases, ages of evidence.
pub(super) const SPANS: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
/// Waits that may be left out altogether.
pub(super) const WAITS: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Times to live that DNS can carry and a cutover can wait for.
pub(super) const TTLS: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Lengths that a part, and a blob in one piece, may have (S3 takes no more than 5 GiB at once).
pub(super) const PARTS: RangeInclusive<u64> = 64 * KIB..=5 * GIB;
/// Sums of lengths, and bytes in a second.
pub(super) const AMOUNTS: RangeInclusive<u64> = KIB..=1024 * GIB;
/// A blob longer than this goes up in parts.
pub(super) const PARTS_ABOVE: u64 = 256 * MIB;
/// Length of a part.
pub(super) const PART_SIZE: u64 = 8 * MIB;
/// Bytes of the files in a batch.
pub(super) const BATCH_BYTES: u64 = 256 * MIB;

/// Lengths that an answer of a store may be allowed.
pub(super) const ANSWERS: RangeInclusive<u64> = 64 * KIB..=GIB;
/// Longest answer of a store.
pub(super) const ANSWER: u64 = 64 * MIB;
/// Lengths that all kept answers of a store together may be allowed.
pub(super) const CACHES: RangeInclusive<u64> = 0..=GIB;
/// Length of all kept answers of a store together.
pub(super) const CACHE: u64 = 8 * MIB;

/// Longest wait for an answer of a store or a bucket.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for an answer of a switch or a probe.
pub(super) const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest run of a program of a phase.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a probe is measured.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(10);
/// Longest wait for all resolvers.
pub(super) const PROPAGATION: Duration = Duration::from_mins(5);
/// Time to live of a changed record (source: the seeds' DNS settings).
pub(super) const TTL: Duration = Duration::from_mins(5);
/// Share of a zone that may change at once (source: octoDNS).
pub(super) const GUARD: f64 = 0.3;
/// Window of a rule, and length of the monitoring (source: the seeds' five minutes).
pub(super) const FIVE_MINUTES: Duration = Duration::from_mins(5);
/// How often rules are evaluated (source: the seeds' check every ten seconds).
pub(super) const MONITORING_EVERY: Duration = Duration::from_secs(10);
