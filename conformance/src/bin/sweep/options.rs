//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The verb whose system calls are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `create`
    Create,
    /// `run --detach`
    Run,
    /// `start` of a created container
    Start,
    /// `delete --force` of a running container
    Delete,
    /// `exec --detach` in a running container
    Exec,
    /// `kill` of a running container with KILL
    Kill,
    /// `pause` of a running container
    Pause,
    /// `resume` of a paused container
    Resume,
    /// `update` of a running container
    Update,
}

impl Verb {
    /// All verbs by name.
    pub const ALL: &[(&str, Verb)] = &[
        ("create", Verb::Create),
        ("run", Verb::Run),
        ("start", Verb::Start),
        ("delete", Verb::Delete),
        ("exec", Verb::Exec),
        ("kill", Verb::Kill),
        ("pause", Verb::Pause),
        ("resume", Verb::Resume),
        ("update", Verb::Update),
    ];
}

/// The options after parsing.
#[derive(Debug)]
pub struct Options {
    /// `--inside`: the namespaces are made already.
    pub inside: bool,
    /// `--record`: kill nothing, tell what children call up to their exec.
    pub record: bool,
    /// `--runtime`
    pub runtime: PathBuf,
    /// `--global`, each one argument before the verb
    pub globals: Vec<String>,
    /// `--bundle`
    pub bundle: PathBuf,
    /// `--root`, the state root
    pub root: PathBuf,
    /// `--group`: name of the cgroup, in every hierarchy, below which the container's cgroup is
    pub group: String,
    /// `--verb`
    pub verb: Verb,
    /// `--points`: at most so many kills, spread evenly when there are more system calls
    pub points: usize,
    /// `--seconds`: no further kill after that time
    pub time: Duration,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            inside: false,
            record: false,
            runtime: PathBuf::new(),
            globals: Vec::new(),
            bundle: PathBuf::new(),
            root: PathBuf::new(),
            group: String::new(),
            verb: Verb::Create,
            points: usize::MAX,
            time: Duration::from_secs(600),
        };
        while let Some(flag) = args.next() {
            if flag == "--inside" {
                options.inside = true;
                continue;
            }
            if flag == "--record" {
                options.record = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number = || {
                value
                    .parse::<usize>()
                    .map_err(|_| format!("{flag} needs a number"))
            };
            match flag.as_str() {
                "--runtime" => options.runtime = PathBuf::from(value),
                "--global" => options.globals.push(value),
                "--bundle" => options.bundle = PathBuf::from(value),
                "--root" => options.root = PathBuf::from(value),
                "--group" => options.group = value,
                "--verb" => {
                    let known = Verb::ALL.iter().find(|(name, _)| *name == value);
                    options.verb = known.ok_or_else(|| format!("unknown verb {value:?}"))?.1;
                }
                "--points" => options.points = number()?,
                "--seconds" => options.time = Duration::from_secs(number()? as u64),
                other => return Err(format!("unknown argument {other:?}")),
            }
        }
        if options.paths().iter().any(|path| !path.is_absolute()) || options.group.is_empty() {
            return Err("--runtime, --bundle and --root (absolute) and --group are needed".to_string());
        }
        Ok(options)
    }

    /// Every path that the sweep works with.
    pub fn paths(&self) -> [&Path; 3] {
        [&self.runtime, &self.bundle, &self.root]
    }
}
