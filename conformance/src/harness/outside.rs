//! A place outside of every container which nothing may change, and the host's mount table.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Ctx, Outcome, Stop};

/// What a file is: type and mode, device number, owner, size, when it was changed last, content or target.
type Facts = (u32, u64, u32, u64, i64, Vec<u8>);

/// The bait: a directory with files, as attackers would like to reach it.
#[derive(Debug)]
pub struct Outside {
    /// Where it is.
    pub dir: PathBuf,
    files: BTreeMap<PathBuf, Facts>,
    mounts: String,
}

impl Outside {
    /// Lays it out and remembers it.
    pub fn new(ctx: &Ctx) -> Outcome<Outside> {
        let dir = ctx.fresh_dir("outside")?;
        for below in ["etc", "sub", "dev"] {
            fs::create_dir(dir.join(below))?;
        }
        fs::write(dir.join("secret"), "only the host may read this")?;
        fs::write(dir.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
        Outside::watch(&dir)
    }
    /// Remembers a directory that exists.
    pub fn watch(dir: &Path) -> Outcome<Outside> {
        Ok(Outside {
            dir: dir.to_path_buf(),
            files: files(dir)?,
            mounts: mounts()?,
        })
    }
    /// Fails when anything in it, or the host's mount table, is different now.
    pub fn unchanged(&self) -> Outcome {
        let now = files(&self.dir)?;
        let mut changes: Vec<String> = Vec::new();
        for (path, facts) in &now {
            match self.files.get(path) {
                None => changes.push(format!("{} appeared", path.display())),
                Some(before) if before != facts => changes.push(format!("{} changed", path.display())),
                Some(_) => {}
            }
        }
        let gone = self.files.keys().filter(|path| !now.contains_key(*path));
        changes.extend(gone.map(|path| format!("{} is gone", path.display())));
        let mounts = mounts()?;
        let seen = |line: &&str| !self.mounts.contains(line);
        changes.extend(
            mounts
                .lines()
                .filter(seen)
                .map(|line| format!("the host sees the mount {line}")),
        );
        match changes.is_empty() {
            true => Ok(()),
            false => Err(Stop::Failed(format!(
                "outside of the container: {}",
                changes.join("; ")
            ))),
        }
    }
    /// The ways in which a link in a root file system can point here: as a path of the host, and by climbing.
    pub fn targets(&self) -> [String; 2] {
        let path = self.dir.display().to_string();
        [path.clone(), format!("../../../../../../../../../../..{path}")]
    }
}

fn mounts() -> Outcome<String> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?)
}

fn files(dir: &Path) -> Outcome<BTreeMap<PathBuf, Facts>> {
    let mut found = BTreeMap::new();
    // A directory that is gone altogether is one more change.
    let mut waiting: Vec<PathBuf> = dir.exists().then(|| dir.to_path_buf()).into_iter().collect();
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path)?;
        let content = if meta.is_symlink() {
            fs::read_link(&path)?.into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            fs::read(&path)?
        } else {
            Vec::new()
        };
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
        let changed = meta.ctime() * 1_000_000_000 + meta.ctime_nsec();
        found.insert(
            path,
            (
                meta.mode(),
                meta.rdev(),
                meta.uid(),
                meta.size(),
                changed,
                content,
            ),
        );
    }
    Ok(found)
}

/// A thread that swaps a directory with a link, again and again, as the program of another container with which a
/// volume is shared could.
#[derive(Debug)]
pub struct Swap {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Swap {
    /// Makes `path` a directory, and lets it be a link to `target` every other moment.
    pub fn begin(path: &Path, target: &str) -> Outcome<Swap> {
        let other = path.with_extension("swap");
        fs::create_dir_all(path)?;
        symlink(target, &other)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (path, done) = (path.to_path_buf(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !done.load(Ordering::Relaxed) {
                if renameat2(AT_FDCWD, &path, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).is_ok() {
                    swaps += 1;
                }
                // At different distances, so that every gap of the runtime is hit sometimes.
                std::thread::sleep(std::time::Duration::from_micros(swaps * 37 % 400));
            }
            swaps
        });
        Ok(Swap {
            stop,
            thread: Some(thread),
        })
    }
    /// Ends it; how many swaps there were.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or(0)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
