//! `attnscope analyze` as a process of its own, and the machine it runs on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Error, Result};

/// The name of the picture in the program's folder.
const PICTURE: &str = "picture.png";
/// Time between two looks at the memory of the process.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The program with a picture to analyse and a folder to write to, which goes with it.
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
    threads: usize,
    folder: TempDir,
}

impl Program {
    /// The program at `path`, run with `analyze`, the picture and `args`.
    ///
    /// # Errors
    /// If there is no room for the picture.
    pub fn new(path: PathBuf, args: Vec<OsString>, picture: &[u8], threads: usize) -> Result<Self> {
        let failed = |e| Error::Setting(format!("no temporary folder can be written ({e})"));
        let folder = tempfile::tempdir().map_err(failed)?;
        std::fs::write(folder.path().join(PICTURE), picture).map_err(failed)?;
        Ok(Self {
            path,
            args,
            threads,
            folder,
        })
    }

    /// The picture.
    pub fn picture(&self) -> PathBuf {
        self.folder.path().join(PICTURE)
    }

    /// One run: from start to exit.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn time(&self) -> Result<Duration> {
        let began = Instant::now();
        let mut child = self.start()?;
        let status = child.wait().map_err(|e| self.failed(e))?;
        let time = began.elapsed();
        match status.success() {
            true => Ok(time),
            false => Err(self.failed(status)),
        }
    }

    /// One run: its peak resident memory in megabytes; `None` where the system does not tell.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn peak_memory(&self) -> Result<Option<f64>> {
        let mut child = self.start()?;
        let mut peak = None;
        loop {
            // The high-water mark only grows: the last one that is seen counts.
            peak = high_water(child.id()).or(peak);
            match child.try_wait().map_err(|e| self.failed(e))? {
                Some(status) if status.success() => return Ok(peak),
                Some(status) => return Err(self.failed(status)),
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn start(&self) -> Result<Child> {
        let folder = self.folder.path();
        Command::new(&self.path)
            .arg("analyze")
            .arg(self.picture())
            .arg("--out")
            .arg(folder.join("out"))
            .args(&self.args)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| self.failed(e))
    }

    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::path(&self.path, why, "a program that analyses a picture")
    }
}

/// Peak resident memory of a process in megabytes; Linux only.
fn high_water(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// The processor's name, where the system tells.
pub fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find_map(|l| l.strip_prefix("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

/// Processes that wanted to run during the last minute, on average, where the system tells.
pub fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
