//! What can be typed: the commands and what each takes. `settings` is what all of them take, `values` reads single values.

mod settings;
mod values;

pub(super) use settings::{Settings, Theme, When};
pub(super) use values::Rate;

use crate::{
    error::FaultKind,
    model::{ItemState, PauseDepth, Phase, Waiver},
    ports::ItemVerdict,
    rehearsal::Overrides,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use values::{bytes_per_s, change, kind, per_s, phase, state, verdict, waiver, wrong};

/// Runs a production cutover from a full-screen console, and can always go back.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) settings: Settings,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 completed, 1 internal error, 2 usage or plan mistake, 3 failed or rolled back, 4 stopped by a person,\n\
5 stuck and needs a person, 6 blocked before anything changed, 7 verification found differences.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Builds a whole world on this machine and runs a real cutover in it.
    Rehearse(WorldArgs),
    /// Builds only the world, writes a plan for it (to --plan), and lives until Ctrl-C.
    World(WorldArgs),
    /// Writes a commented starter plan.
    Init {
        /// Where to [default: what --plan says].
        file: Option<PathBuf>,
    },
    /// Reads the plan and tells every mistake in it at once.
    Check {
        /// Asks nobody: the mappings are not held against what both sides say of their fields.
        #[arg(long)]
        offline: bool,
    },
    /// Looks at both sides and says what a run would do. Changes nothing.
    Preview,
    /// Begins a run.
    Run {
        /// Reads the real sources, writes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Goes on with an unfinished run, or lets a paused one go on.
    Resume {
        /// Goes on although the plan has changed since the run began.
        #[arg(long)]
        plan_changed_ok: bool,
        /// Moves only what is open or failed in this batch of files. No engine may be running.
        #[arg(long, value_name = "ID", conflicts_with = "plan_changed_ok")]
        batch: Option<String>,
    },
    /// Where the run stands.
    Status,
    /// The batches of all lanes, or one of them with its files.
    Batches(BatchesArgs),
    /// The files of all lanes, in the order of their keys, as the ledger knows them.
    Files(FilesArgs),
    /// Compares both sides now, also while a run moves; marks nothing. Exit code 7 if they differ.
    Verify(VerifyArgs),
    /// Mends what the last comparison found different, as the source has it. No engine may be running.
    Repair(RepairArgs),
    /// Records that could not be moved: why, and as the source had them.
    Deadletters(DeadLettersArgs),
    /// All backups of the new side, of every run: what, how much, how old, where, and whether proven.
    Backups {
        /// Reads every one as a whole, and checks it. Exit code 7 if one is hurt.
        #[arg(long)]
        check: bool,
    },
    /// Says what it would take to bring a dataset of the new side back to a backup; with --yes does it. No engine may be
    /// running.
    Restore(RestoreArgs),
    /// What arrived, as `sha256sum -c` reads it.
    Manifest {
        /// Only of this lane.
        #[arg(long)]
        lane: Option<String>,
    },
    /// Changes how fast a lane may be, until the engine ends.
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Limit {
        /// Which lane.
        #[arg(long)]
        lane: String,
        /// Payload bytes per second (`10MiB`), or `off`.
        #[arg(long, group = "what", value_parser = bytes_per_s)]
        bytes: Option<Rate>,
        /// Requests per second of a lane of files, or `off`.
        #[arg(long, group = "what", value_parser = per_s)]
        requests: Option<Rate>,
        /// Rows per second of a lane of records, or `off`.
        #[arg(long, group = "what", value_parser = per_s)]
        rows: Option<Rate>,
    },
    /// Works on more or fewer at once in a lane, until the engine ends.
    Concurrency {
        /// Which lane.
        #[arg(long)]
        lane: String,
        /// `+4` or `-4`.
        #[arg(allow_hyphen_values = true, value_parser = change)]
        by: i32,
    },
    /// Follows a running engine, one line per change.
    Watch,
    /// Emergency stop: cuts every writer now.
    Stop(Reason),
    /// Pauses the run.
    Pause {
        /// How deep.
        #[arg(long, value_enum, default_value_t)]
        depth: Depth,
        #[command(flatten)]
        reason: Reason,
    },
    /// Go: through the open gate before PHASE.
    Approve {
        /// The phase behind the gate.
        #[arg(value_parser = phase)]
        phase: Phase,
        /// Lets a check not count.
        #[arg(long, value_name = "CHECK=REASON", value_parser = waiver)]
        waive: Vec<Waiver>,
    },
    /// No-go: not through the open gate before PHASE; the run pauses there.
    Refuse {
        /// The phase behind the gate.
        #[arg(value_parser = phase)]
        phase: Phase,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
    /// Goes all the way back, or takes back one batch or lane of files.
    Rollback(RollbackArgs),
    /// Vetoes the automatic rollback that is counting down.
    Keep(Reason),
    /// Tries the failed step, or the stuck undo, again.
    Retry,
    /// Does not do the failed STEP.
    Skip {
        /// The failed step (`phase/step`).
        step: String,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
}

/// Why, where that may be left out.
#[derive(Debug, Args)]
pub(super) struct Reason {
    /// Why, for the journal.
    #[arg(long, default_value = "asked from another terminal")]
    pub(super) reason: String,
}

/// How far back.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// Why, for the journal.
    #[arg(long, required_unless_present_any = ["batch", "lane"])]
    pub(super) reason: Option<String>,
    /// Goes back although the plan has changed since the run began.
    #[arg(long, conflicts_with_all = ["batch", "lane"])]
    pub(super) plan_changed_ok: bool,
    /// Takes back only this batch of files; they are pending then. No engine may be running.
    #[arg(long, value_name = "ID", conflicts_with_all = ["reason", "lane"])]
    pub(super) batch: Option<String>,
    /// Takes back only this lane of files; they are pending then. No engine may be running.
    #[arg(long, conflicts_with = "reason")]
    pub(super) lane: Option<String>,
}

/// Which batches.
#[derive(Debug, Args)]
pub(super) struct BatchesArgs {
    /// This one, with its files.
    #[arg(conflicts_with_all = ["lane", "failed"])]
    pub(super) batch: Option<String>,
    /// Only of this lane.
    #[arg(long)]
    pub(super) lane: Option<String>,
    /// Only failed ones, and those with failed items.
    #[arg(long)]
    pub(super) failed: bool,
    /// Follows them until the run ends or Ctrl-C.
    #[arg(long, conflicts_with = "failed")]
    pub(super) watch: bool,
}

/// Which files.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// Only of this lane.
    #[arg(long)]
    pub(super) lane: Option<String>,
    /// Only in this state: `pending`, `copying`, `copied`, `verified`, `skipped`, `failed`, `conflicting` or `lost`.
    #[arg(long, value_parser = state)]
    pub(super) state: Option<ItemState>,
    /// Only with an error of this kind (`not_found`, `mismatch`, `throttled`, …).
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub(super) error: Option<FaultKind>,
    /// Only with this text in the key or the source's path.
    #[arg(long, value_name = "TEXT")]
    pub(super) path: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,
}

/// How to compare.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this lane.
    #[arg(long)]
    pub(super) lane: Option<String>,
    /// How closely files are looked at.
    #[arg(long, value_enum, default_value_t)]
    pub(super) level: Level,
    /// Begins anew instead of going on where an interrupted comparison stopped.
    #[arg(long)]
    pub(super) again: bool,
    /// After a whole comparison: compares only records that changed on either side since, that were moved since, or that
    /// were not the same. Lanes of files are compared whole.
    #[arg(long, conflicts_with = "again")]
    pub(super) since_last: bool,
    /// Compares nothing; lists what the last comparison found: `same`, `differs`, `moving`, `only_in_source`, `only_in_target`,
    /// `error`, and of references, keys and files on the new side `dangling`, `doubled` and `without_file`.
    #[arg(long, value_name = "VERDICT", value_parser = verdict, conflicts_with_all = ["again", "since_last"])]
    pub(super) list: Option<ItemVerdict>,
}

/// What is mended.
#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// Which lane of records.
    #[arg(long)]
    pub(super) lane: String,
    /// Only records with this verdict: `differs`, `moving`, `only_in_source` or `only_in_target` [default: all but
    /// `only_in_target`].
    #[arg(long, value_name = "VERDICT", value_parser = wrong)]
    pub(super) only: Option<ItemVerdict>,
    /// Only this record; may be said again.
    #[arg(long = "key", value_name = "KEY")]
    pub(super) keys: Vec<String>,
    /// Does it; without this it only says what it would do.
    #[arg(long)]
    pub(super) yes: bool,
}

impl RepairArgs {
    /// Which verdicts. Deleting rows is never part of what was not asked for by name.
    pub(super) fn verdicts(&self) -> Vec<ItemVerdict> {
        self.only.map_or_else(
            || vec![ItemVerdict::OnlyInSource, ItemVerdict::Differs, ItemVerdict::Moving],
            |verdict| vec![verdict],
        )
    }
}

/// What is restored.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Which dataset.
    #[arg(long)]
    pub(super) dataset: String,
    /// From the backup of this run, by its name or how it begins [default: the newest run].
    #[arg(long)]
    pub(super) run: Option<String>,
    /// Also removes rows that the backup does not have, whoever wrote them.
    #[arg(long)]
    pub(super) remove_others: bool,
    /// Does it; without this it only says what it would do.
    #[arg(long)]
    pub(super) yes: bool,
}

/// Which dead letters, and what to do with them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DeadLettersArgs {
    /// Only of this lane.
    #[arg(long)]
    pub(super) lane: Option<String>,
    #[command(subcommand)]
    pub(super) verb: Option<DeadLettersVerb>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersVerb {
    /// Shows one with its record.
    Show {
        /// Its lane.
        lane: String,
        /// Its key.
        key: String,
    },
    /// All with their records, a line of JSON for each.
    Export {
        /// Only of this lane.
        #[arg(long)]
        lane: Option<String>,
    },
    /// Decides about those of a lane that stood on the new side before the run (`on_conflict = "ask"`). No engine may be
    /// running.
    Decide {
        /// Which lane.
        #[arg(long)]
        lane: String,
        /// Whose record stands.
        #[arg(long, value_enum)]
        take: Side,
        /// Only these keys; all that wait if none is said.
        keys: Vec<String>,
    },
    /// Moves those of a lane again. No engine may be running.
    Retry {
        /// Which lane.
        #[arg(long)]
        lane: String,
        /// Only these keys; all of the lane if none is said.
        keys: Vec<String>,
    },
}

/// Whose record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Side {
    /// The legacy side's: the new side's is overwritten, and a rollback restores it.
    Legacy,
    /// The new side's: it is kept as it is.
    New,
}

/// How closely files are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    /// What the target says it holds; read only where it does not say.
    #[default]
    Checksum,
    /// Every byte is read back.
    Content,
}

/// How big a world, how it behaves, and where it is kept.
#[derive(Debug, Args)]
pub(super) struct WorldArgs {
    /// `calm`, `error-spike`, `flaky`, `conflicts`, `follow`, or a TOML file.
    #[arg(long, default_value = "calm", value_name = "NAME|FILE")]
    pub(super) scenario: String,
    /// Users in the legacy application.
    #[arg(long)]
    pub(super) users: Option<u64>,
    /// Files in its media folder.
    #[arg(long)]
    pub(super) files: Option<u64>,
    /// Average bytes of a file.
    #[arg(long)]
    pub(super) bytes: Option<u64>,
    /// 2 halves every wait, 0.5 doubles it.
    #[arg(long)]
    pub(super) speed: Option<f64>,
    /// Everything random follows from it.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Keeps databases, files and ledger here; an unfinished rehearsal in it is resumed.
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
}

impl WorldArgs {
    /// What the flags change about the scenario.
    pub(super) const fn overrides(&self) -> Overrides {
        Overrides { users: self.users, files: self.files, bytes: self.bytes, seed: self.seed, speed: self.speed }
    }
}

/// How deep a pause cuts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Depth {
    /// Batches under way finish.
    #[default]
    Batch,
    /// The step under way finishes.
    Step,
    /// Work under way is dropped.
    Now,
}

impl From<Depth> for PauseDepth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Batch => Self::AfterBatch,
            Depth::Step => Self::AfterStep,
            Depth::Now => Self::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_part_or_all_goes_back_but_not_both() {
        let read = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(read("cutover rollback --reason x").is_ok() && read("cutover rollback --batch files-0001").is_ok());
        for wrong in [
            "cutover rollback",
            "cutover rollback --lane files --batch files-0001",
            "cutover rollback --reason x --lane files",
            "cutover limit --lane files",
            "cutover batches files-0001 --failed",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for line in ["cutover --json approve dns-cutover", "cutover approve dns_cutover --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.settings.json);
            assert!(matches!(cli.verb, Some(Verb::Approve { phase: Phase::DnsCutover, .. })));
        }
        let cli =
            Cli::try_parse_from(["cutover", "approve", "cleanup", "--waive", "clocks = known and harmless"]).unwrap();
        let Some(Verb::Approve { waive, .. }) = cli.verb else { panic!("not an approval") };
        assert_eq!(waive, [Waiver { check: "clocks".into(), reason: "known and harmless".into() }]);
        for wrong in [&["cutover", "approve", "lunch"][..], &["cutover", "approve", "cleanup", "--waive", "clocks"]] {
            assert!(Cli::try_parse_from(wrong).is_err());
        }
    }
}
