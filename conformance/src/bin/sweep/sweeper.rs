//! The sweep: prepare, kill at the next point, look, force the deletion, look again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::options::{Options, Verb};
use crate::record;
use crate::trace::{self, End};
use crate::traces::{self, Places, Traces};

const ID: &str = "swept";
/// A container that has nothing to do with it and must not be touched.
const BYSTANDER: &str = "bystander";
/// What `delete --force` is given, and every other command.
const DEADLINE: Duration = Duration::from_secs(10);

/// Sweeps over all system calls of the verb; the report.
pub fn sweep(options: &Options) -> Result<Value, String> {
    let sweeper = Sweeper::new(options)?;
    sweeper.add_bystander()?;
    let calls = sweeper.rehearse()?;
    let before = Traces::look(&sweeper.places);
    let stride = calls.div_ceil(options.points).max(1);
    let start = Instant::now();
    let (mut points, mut complete, mut defects) = (0, false, Vec::new());
    let mut point = 1;
    while !complete && start.elapsed() < options.time {
        let end = sweeper.strike(point)?;
        complete = matches!(end, End::Finished { .. });
        let mut found = sweeper.check_end(end);
        found.extend(sweeper.aftermath(&before)?);
        if !found.is_empty() {
            let call = if let End::Killed { call } = end {
                json!(call)
            } else {
                Value::Null
            };
            defects.push(json!({"point": point, "call": call, "found": found}));
        }
        points += 1;
        point += stride;
    }
    sweeper.must(&["delete", "--force", BYSTANDER])?;
    Ok(json!({
        "calls": calls,
        "points": points,
        "complete": complete && stride == 1,
        "seconds": start.elapsed().as_secs_f64(),
        "defects": defects,
    }))
}

/// Runs the verb once; the system calls of every process that it makes, up to its exec.
pub fn record(options: &Options) -> Result<Value, String> {
    let sweeper = Sweeper::new(options)?;
    let before = Traces::look(&sweeper.places);
    sweeper.prepare()?;
    let calls = record::children(&mut sweeper.verb()?);
    sweeper.must(&["delete", "--force", ID])?;
    traces::clear(&sweeper.places, &before);
    Ok(json!({"children": calls?.into_values().collect::<Vec<_>>()}))
}

struct Sweeper<'a> {
    options: &'a Options,
    places: Places,
    messages: PathBuf,
}

impl Drop for Sweeper<'_> {
    fn drop(&mut self) {
        for group in &self.places.groups {
            let _ = fs::remove_dir(group);
        }
    }
}

impl Sweeper<'_> {
    fn new(options: &Options) -> Result<Sweeper<'_>, String> {
        let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let places = Places {
            root: options.root.clone(),
            bundle: options.bundle.clone(),
            groups: hierarchies()
                .iter()
                .map(|mount| mount.join(&options.group))
                .collect(),
        };
        let sweeper = Sweeper {
            options,
            places,
            messages: options.root.with_extension("messages"),
        };
        fs::create_dir_all(&options.root).map_err(|error| at(&options.root, error))?;
        for group in &sweeper.places.groups {
            fs::create_dir(group).map_err(|error| at(group, error))?;
            inherit_cpuset(group);
        }
        Ok(sweeper)
    }

    /// Starts a container of the same bundle, with a cgroup of its own.
    fn add_bystander(&self) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("bystander: {error}");
        let text = fs::read(self.options.bundle.join("config.json")).map_err(|e| failed(&e))?;
        let mut config: Value = serde_json::from_slice(&text).map_err(|e| failed(&e))?;
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{BYSTANDER}", self.options.group));
        config["root"]["path"] = json!(self.options.bundle.join("rootfs"));
        let bundle = self.options.root.with_extension(BYSTANDER);
        fs::create_dir_all(&bundle).map_err(|e| failed(&e))?;
        fs::write(bundle.join("config.json"), config.to_string()).map_err(|e| failed(&e))?;
        self.must(&[
            "create",
            "--bundle",
            bundle.to_str().unwrap_or_default(),
            BYSTANDER,
        ])?;
        self.must(&["start", BYSTANDER])
    }

    fn command(&self, args: &[&str]) -> Result<Command, String> {
        let file = File::create(&self.messages).map_err(|error| format!("{:?}: {error}", self.messages))?;
        let mut command = Command::new(&self.options.runtime);
        command
            .args(&self.options.globals)
            .arg("--root")
            .arg(&self.options.root)
            .args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(command)
    }

    fn bundle(&self) -> &str {
        self.options.bundle.to_str().unwrap_or_default()
    }

    /// Runs a command that has to succeed, so that there is something to kill.
    fn must(&self, args: &[&str]) -> Result<(), String> {
        let status = trace::plain(&mut self.command(args)?, DEADLINE)?;
        if status == Some(0) {
            return Ok(());
        }
        let message = fs::read_to_string(&self.messages).unwrap_or_default();
        Err(match status {
            Some(code) => format!("{args:?} ended with {code}: {}", message.trim()),
            None => format!("{args:?} did not end within {DEADLINE:?}: {}", message.trim()),
        })
    }

    /// Brings the container into the state that the verb needs.
    fn prepare(&self) -> Result<(), String> {
        match self.options.verb {
            Verb::Create | Verb::Run => Ok(()),
            Verb::Start => self.must(&["create", "--bundle", self.bundle(), ID]),
            _ => {
                self.must(&["create", "--bundle", self.bundle(), ID])?;
                self.must(&["start", ID])?;
                if self.options.verb == Verb::Resume {
                    self.must(&["pause", ID])
                } else {
                    Ok(())
                }
            }
        }
    }

    fn verb(&self) -> Result<Command, String> {
        let args: &[&str] = match self.options.verb {
            Verb::Create => &["create", "--bundle", self.bundle(), ID],
            Verb::Run => &["run", "--detach", "--bundle", self.bundle(), ID],
            Verb::Start => &["start", ID],
            Verb::Delete => &["delete", "--force", ID],
            Verb::Exec => &["exec", "--detach", ID, "sleep", "1000"],
            Verb::Kill => &["kill", ID, "KILL"],
            Verb::Pause => &["pause", ID],
            Verb::Resume => &["resume", ID],
            Verb::Update => &["update", "--pids-limit", "20", ID],
        };
        self.command(args)
    }

    /// One round without a kill: it shows that the verb works here, and counts its system calls.
    fn rehearse(&self) -> Result<usize, String> {
        self.must(&["create", "--bundle", self.bundle(), ID])?;
        self.must(&["delete", "--force", ID])?;
        let before = Traces::look(&self.places);
        match self.strike(usize::MAX)? {
            End::Finished { calls, code: 0 } => {
                self.must(&["delete", "--force", ID])?;
                // What a peer leaves already then is not the kill's doing, but the rounds must begin clean.
                traces::clear(&self.places, &before);
                Ok(calls)
            }
            end => {
                let message = fs::read_to_string(&self.messages).unwrap_or_default();
                Err(format!(
                    "undisturbed, the verb ended with {end:?}: {}",
                    message.trim()
                ))
            }
        }
    }

    fn strike(&self, point: usize) -> Result<End, String> {
        self.prepare()?;
        trace::run(&mut self.verb()?, point, DEADLINE)
    }

    fn check_end(&self, end: End) -> Vec<String> {
        let message = match end {
            End::Killed { .. } | End::Finished { code: 0, .. } => return Vec::new(),
            End::Finished { code, .. } => format!("undisturbed, the verb ended with {code}"),
            End::Hung => format!("the verb did not end within {DEADLINE:?}"),
        };
        vec![message]
    }

    /// After the kill: `list` works, `delete --force` does, twice, and nothing is left.
    fn aftermath(&self, before: &Traces) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for args in [
            &["list", "--quiet"][..],
            &["delete", "--force", ID],
            &["delete", "--force", ID],
        ] {
            match trace::plain(&mut self.command(args)?, DEADLINE)? {
                Some(0) => {}
                Some(code) => {
                    let message = fs::read_to_string(&self.messages).unwrap_or_default();
                    found.push(format!("{args:?} ended with {code}: {}", message.trim()));
                }
                None => found.push(format!("{args:?} did not end within {DEADLINE:?}")),
            }
        }
        let left = before.changes(&self.places);
        if !left.is_empty() {
            traces::clear(&self.places, before);
        }
        found.extend(left);
        Ok(found)
    }
}

/// Mount points of all cgroup hierarchies.
fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return vec![top.to_path_buf()];
    }
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path())
        .filter(|dir| dir.join("cgroup.procs").exists())
        .collect()
}

/// A new cpuset of v1 is empty, and nobody can join what is below it.
fn inherit_cpuset(group: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (group.with_file_name(file), group.join(file));
        if !group.join("cgroup.controllers").exists() && to.exists() {
            let _ = fs::read(from).and_then(|value| fs::write(to, value));
        }
    }
}
