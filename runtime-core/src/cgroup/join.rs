//! How a process gets into the cgroup.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode as Permissions;

use super::{Cgroup, Mode, Place, file, layout, path};
use crate::error::{Code, Error, Result};

/// How a process joins a cgroup.
///
/// Version 2 takes it at birth, by `CLONE_INTO_CGROUP`. In version 1 it moves itself, by writing `0` into each of the
/// files: a single thread that moves itself is the one case that needs no lock over all processes of the host, for
/// which the kernel would wait some milliseconds.
///
/// ```no_run
/// # fn main() -> runtime_core::Result<()> {
/// use runtime_core::cgroup::{Cgroup, Layout};
/// let cgroup = Cgroup::resolve(&Layout::probe()?, Some("/demo/one"), "one")?;
/// let entrance = cgroup.entrance()?;
/// println!("{} files to write to", entrance.tasks.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Entrance {
    /// Directory for `CLONE_INTO_CGROUP` (v2, and the unified tree of a hybrid host).
    pub dir: Option<OwnedFd>,
    /// Files that a single-threaded process writes `0` to (v1).
    pub tasks: Vec<OwnedFd>,
}

impl Cgroup {
    /// How a process joins.
    pub fn entrance(&self) -> Result<Entrance> {
        self.entrance_at(|_| Some(""))
    }

    /// Directory for `CLONE_INTO_CGROUP`, where there is version 2.
    pub(crate) fn birthplace(&self) -> Result<Option<OwnedFd>> {
        Ok(self.entrance_by(Place::is_v2, |_| Some(""))?.dir)
    }

    /// Number of files that a process is going to write to.
    pub(crate) fn tasks(&self) -> usize {
        self.present().filter(|place| !place.is_v2()).count()
    }

    /// How a process joins the cgroup `sub` below this one: `path`, or on version 1 `controller,controller:path`,
    /// where it joins this one in the other hierarchies. A path out of the cgroup is refused.
    pub fn sub_entrance(&self, sub: &str) -> Result<Entrance> {
        let refuse = |why: String| {
            Err(Error::new(Code::InvalidConfig, "join sub-cgroup")
                .operand(sub)
                .reason(why))
        };
        let (controllers, sub_path) = match sub.split_once(':') {
            Some((_, _)) if self.mode == Mode::V2 && !sub.starts_with('/') => {
                return refuse("cgroup v2 has no controllers of their own paths".into());
            }
            Some((controllers, path)) if self.mode != Mode::V2 => (controllers, path),
            _ => ("", sub),
        };
        let names: Vec<&str> = controllers.split(',').filter(|name| !name.is_empty()).collect();
        if let Some(unknown) = names.iter().find(|name| self.place(name).is_none()) {
            return refuse(format!("unknown controller {unknown:?}"));
        }
        let below = match sub_path.trim_matches('/') {
            "" | "." => String::new(),
            inner => path::clean(inner).map_err(|error| error.with_code(Code::InvalidConfig))?,
        };
        self.entrance_at(|place| {
            let named = names.is_empty() || names.iter().any(|name| place.has(name));
            Some(if named { &below } else { "" })
        })
    }

    /// How a process joins the cgroup that the process `pid` of this container is in. That is the way into a container
    /// which has divided its cgroup: on version 2 none can be joined that has controllers enabled for its children.
    pub fn entrance_of(&self, pid: i32) -> Result<Entrance> {
        let file = format!("/proc/{pid}/cgroup");
        let lines = file::read(Path::new(&file))
            .map_err(|errno| file::failed("join cgroup of process", Path::new(&file), errno))?;
        let of = |place: &Place| {
            let line = lines.lines().find_map(|line| {
                let (_, line) = line.split_once(':')?;
                let (controllers, path) = line.split_once(':')?;
                (controllers == place.controllers).then_some(path)
            })?;
            path::below(&place.path, line).map(|below| below.trim_start_matches('/'))
        };
        if let Some(place) = self.present().find(|place| of(place).is_none()) {
            return Err(Error::new(Code::Cgroup, "join cgroup of process")
                .operand(&file)
                .reason(format!("the process is not in {}", place.dir().display())));
        }
        self.entrance_at(of)
    }

    /// Opens what a process needs to join, at the path that `below` gives for each place.
    fn entrance_at<'a>(&'a self, below: impl Fn(&'a Place) -> Option<&'a str>) -> Result<Entrance> {
        self.entrance_by(|_| true, below)
    }

    fn entrance_by<'a>(
        &'a self,
        which: impl Fn(&Place) -> bool,
        below: impl Fn(&'a Place) -> Option<&'a str>,
    ) -> Result<Entrance> {
        let mut entrance = Entrance {
            dir: None,
            tasks: Vec::with_capacity(self.places.len()),
        };
        for place in self.present().filter(|place| which(place)) {
            let mut at = place.dir();
            if let Some(below) = below(place).filter(|below| !below.is_empty()) {
                at = layout::below(&at, below);
            }
            let flags = if place.is_v2() {
                OFlag::O_PATH | OFlag::O_DIRECTORY
            } else {
                at.push("tasks");
                OFlag::O_WRONLY
            };
            let opened = open(&at, flags | OFlag::O_CLOEXEC, Permissions::empty());
            let opened = opened.map_err(|errno| {
                let error = file::failed("open cgroup", &at, errno);
                if errno == Errno::ENOENT {
                    error.hint("the cgroup does not exist")
                } else {
                    error
                }
            })?;
            if place.is_v2() {
                entrance.dir = Some(opened);
            } else {
                entrance.tasks.push(opened);
            }
        }
        Ok(entrance)
    }
}
