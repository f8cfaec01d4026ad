//! What can be asked and ordered of the files of a run from another terminal.

use super::{Process, cutover, ended, text, world};
use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A run whose data has moved, at the gate before the names change.
pub(super) struct Night {
    dir: TempDir,
    pub(super) engine: Process,
    _world: Process,
}

impl Night {
    pub(super) fn begin() -> Self {
        Self::begin_with(|_| {})
    }

    /// `prepare` gets the folder once the world stands, before the run begins.
    pub(super) fn begin_with(prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        let world = world(dir.path());
        prepare(dir.path());
        let mut engine = Process::start(cutover(dir.path()).args(["run", "--headless", "--json"]));
        engine.until("\"kind\":\"gate_opened\"");
        engine.until("\"kind\":\"gate_measured\"");
        let night = Self { dir, engine, _world: world };
        let (code, answer, error) = night.call(&["approve", "maintenance"]);
        assert_eq!(code, 0, "{answer} {error}");
        night
    }

    pub(super) fn moved(mut self) -> Self {
        self.engine.until("\"kind\":\"gate_opened\"");
        self
    }

    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Exit code, last line as JSON, standard error.
    pub(super) fn call(&self, args: &[&str]) -> (i32, Value, String) {
        ended(&cutover(self.folder()).args(args).arg("--json").output().unwrap())
    }

    /// Every line as JSON.
    pub(super) fn lines(&self, args: &[&str]) -> Vec<Value> {
        let output = cutover(self.folder()).args(args).arg("--json").output().unwrap();
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Standard output, for a person.
    pub(super) fn told(&self, args: &[&str]) -> String {
        text(&cutover(self.folder()).args(args).output().unwrap().stdout)
    }

    pub(super) fn stop(&mut self) {
        assert_eq!(self.call(&["stop", "--reason", "drill"]).0, 0);
        assert_eq!(self.engine.end().0, 4);
    }

    /// Where the bucket's objects are.
    fn bucket(&self) -> PathBuf {
        fs::read_dir(self.folder().join("world/objects"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.join("users").is_dir())
            .expect("a folder with objects below users/")
    }
}

#[test]
fn files_are_listed_compared_and_told_to_sha256sum() {
    let night = Night::begin().moved();
    let all = night.lines(&["files"]);
    // Users may have added some before the maintenance.
    let count = all.len();
    assert!(count >= 20, "{count}");
    let keys: Vec<&str> = all.iter().map(|file| file["key"].as_str().unwrap()).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    assert!(all.iter().all(|file| file["state"] == "verified" && file["sha256"].as_str().unwrap().len() == 64));
    assert_eq!(night.lines(&["files", "--limit", "3"]).len(), 3);
    assert_eq!(night.lines(&["files", "--path", keys[4]]).len(), 1);
    assert!(night.lines(&["files", "--state", "failed"]).is_empty());
    assert!(night.told(&["files", "--limit", "1"]).contains(keys[0]));
    assert_eq!(night.call(&["files", "--lane", "users"]).0, 2);
    assert_eq!(night.call(&["files", "--state", "lunch"]).0, 2);

    // While the engine waits at its gate: compared, and nothing differs.
    let (code, last, error) = night.call(&["verify"]);
    assert_eq!(code, 0, "{last} {error}");
    let sums = night.lines(&["verify", "--lane", "files-content", "--level", "content"]);
    assert_eq!(sums.last().unwrap()["sums"]["same"], count, "{sums:?}");

    let bucket = night.bucket();
    let manifest = night.told(&["manifest"]);
    assert_eq!(manifest.lines().count(), count);
    assert!(sha256sum(&bucket, &manifest));
    assert_eq!(night.lines(&["manifest"])[0]["state"], "verified");

    fs::write(bucket.join(keys[0]), "changed by somebody").unwrap();
    fs::remove_file(bucket.join(keys[1])).unwrap();
    fs::write(bucket.join("users").join("stray"), "not ours").unwrap();
    assert!(!sha256sum(&bucket, &manifest));
    let (code, last, error) = night.call(&["verify", "--lane", "files-content", "--level", "content"]);
    let sums = &last["sums"];
    assert_eq!(code, 7, "{last} {error}");
    let found = ["same", "differs", "only_in_source", "only_in_target", "unasked"].map(|name| sums[name].as_u64());
    assert_eq!(found, [count as u64 - 2, 1, 1, 1, 1].map(Some), "{last}");
    let missing = night.lines(&["verify", "--list", "only-in-source"]);
    assert_eq!((missing.len(), &missing[0]["key"]), (1, &keys[1].into()), "{missing:?}");
    assert!(night.told(&["verify", "--list", "differs"]).contains(keys[0]));
}

/// Whether the folder holds what the manifest says.
fn sha256sum(folder: &Path, manifest: &str) -> bool {
    let mut check = Command::new("sha256sum")
        .args(["--check", "--strict", "--status", "-"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sha256sum (package coreutils)");
    check.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    check.wait().unwrap().success()
}

#[test]
fn a_part_goes_back_and_comes_again() {
    let mut night = Night::begin().moved();
    let (code, batches, _) = night.call(&["batches", "--lane", "files-content"]);
    let batch = batches[0]["batch"].as_str().unwrap().to_owned();
    assert_eq!((code, &batches[0]["state"], &batches[0]["done"]), (0, &"done".into(), &batches[0]["items"]));
    let count = batches[0]["items"].as_u64().unwrap();
    let one = night.call(&["batches", &batch]).1;
    assert_eq!(one["items"].as_array().unwrap().len() as u64, count);
    assert_eq!(night.call(&["batches", "files-content-9999"]).0, 2);

    // The engine has it: nobody else may change a part.
    let pid = format!("pid {}", night.engine.id());
    for args in [["resume", "--batch", &batch], ["rollback", "--batch", &batch]] {
        let (code, _, error) = night.call(&args);
        assert_eq!(code, 6);
        assert!(error.contains(&pid), "{error}");
    }
    for args in [
        &["limit", "--lane", "files-content", "--bytes", "10MiB"][..],
        &["limit", "--lane", "files-content", "--requests", "50"],
        &["concurrency", "--lane", "files-content", "+4"],
    ] {
        let (code, answer, error) = night.call(args);
        assert_eq!((code, &answer["state"]), (0, &"effective".into()), "{args:?} {error}");
    }
    let commands = night.call(&["status"]).1["run"]["commands"].clone();
    let limits: Vec<&Value> = commands.as_array().unwrap().iter().map(|command| &command["order"]["limits"]).collect();
    let last = limits.iter().rev().find(|limits| limits.is_object()).unwrap();
    assert_eq!(
        (&last["bytes_per_s"], &last["requests_per_s"]),
        (&(10 << 20).into(), &50.into()),
        "one keeps the other"
    );
    let mut watch = Process::start(cutover(night.folder()).args(["batches", "--watch"]));
    night.stop();
    assert_eq!(watch.end().0, 0, "it ends with the engine");

    let bucket = night.bucket();
    let key = one["items"][0]["key"].as_str().unwrap();
    let (code, answer, error) = night.call(&["rollback", "--batch", &batch]);
    assert_eq!((code, answer["back"]["deleted"].as_u64()), (0, Some(count)), "{error}");
    assert!(!bucket.join(key).exists());
    assert_eq!(night.call(&["batches", &batch]).1["batch"]["state"], "undone");
    assert_eq!(night.lines(&["files", "--state", "pending"]).len() as u64, count);
    let (code, last, _) = night.call(&["verify", "--lane", "files-content"]);
    assert_eq!((code, last["sums"]["only_in_source"].as_u64()), (7, Some(count)));
    let (code, answer, error) = night.call(&["resume", "--batch", &batch]);
    assert_eq!((code, answer["tally"]["verified"].as_u64()), (0, Some(count)), "{error}");
    assert_eq!(night.call(&["verify", "--lane", "files-content"]).0, 0);

    let (code, _, error) = night.call(&["rollback", "--lane", "users"]);
    assert_eq!(code, 6);
    assert!(error.contains("records"), "{error}");
    assert_eq!(night.call(&["rollback", "--lane", "nothing"]).0, 2);
    let all = night.lines(&["files"]).len() as u64;
    let (code, answer, error) = night.call(&["rollback", "--lane", "files-content"]);
    assert_eq!((code, answer["back"]["deleted"].as_u64()), (0, Some(all)), "{error}");

    // The step is to be done again before anything after it.
    let events = night.lines(&["resume", "--headless", "--approve-all"]);
    let last = events.last().unwrap();
    assert_eq!((&last["kind"], &last["outcome"]), (&"run_finished".into(), &"completed".into()), "{last}");
    let done = |event: &&Value| event["kind"] == "step_done" && event["step"] == "data_migration/files-content";
    assert_eq!(events.iter().filter(done).count(), 1);
    assert_eq!(night.call(&["verify", "--lane", "files-content"]).0, 0);
    let (code, _, error) = night.call(&["rollback", "--batch", &batch]);
    assert_eq!(code, 6);
    assert!(error.contains("committed"), "{error}");
}

#[test]
fn a_preview_measures_and_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    let (code, answer, error) = ended(&cutover(dir.path()).args(["preview", "--json"]).output().unwrap());
    assert_eq!(code, 0, "{error}");
    let set = answer["survey"]["datasets"].as_array().unwrap().iter().find(|set| set["name"] == "files").unwrap();
    assert!(set["files"].as_u64() >= Some(20) && set["sample"]["files"] == set["files"], "{set}");
    assert_eq!(set["already"], 0, "{set}");
    let sizes: u64 = set["sizes"].as_array().unwrap().iter().map(|class| class["files"].as_u64().unwrap()).sum();
    assert_eq!(set["files"], sizes);
    assert!(set["seconds"]["low"].as_f64() <= set["seconds"]["high"].as_f64(), "{set}");
    let told = text(&cutover(dir.path()).arg("preview").output().unwrap().stdout);
    assert!(told.contains("by size:") && told.contains("nothing was written"), "{told}");
}

#[test]
fn without_a_run_there_is_nothing_to_list() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    for args in [&["files"][..], &["manifest"], &["verify"], &["resume", "--batch", "x-0001"]] {
        let output = cutover(dir.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{args:?}");
        assert!(text(&output.stderr).contains("find a run"), "{args:?}: {}", text(&output.stderr));
    }
    assert_eq!(text(&cutover(dir.path()).arg("batches").output().unwrap().stdout).trim(), "no batches");
}
