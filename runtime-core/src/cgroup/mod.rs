//! Cgroups: where a container's processes are counted, limited, frozen and killed.
//!
//! [`Layout`] is what the host has, [`Cgroup`] is one container's place in it. Versions 1 and 2 and the mixture of
//! both are handled. What is to be written is data, made by pure functions (`v1`, `v2`, `devices`); who writes it is
//! one loop (`limits`).
//!
//! On version 1 a container is in every hierarchy, as callers expect who look its cgroups up in `/proc/PID/cgroup`;
//! and a hierarchy in which it had no cgroup of its own would show it the host's.

mod create;
mod devices;
mod file;
mod join;
mod kill;
mod layout;
mod limits;
mod path;
mod program;
mod remove;
mod stats;
mod stats_v1;
mod stats_v2;
mod tree;
mod v1;
mod v2;

use std::path::PathBuf;

pub use join::Entrance;
pub use layout::{Hierarchy, Layout, Mode};
pub use stats::*;

use crate::error::{Code, Error, Result};

/// The longest path of a cgroup's directory: `PATH_MAX` without room for the names of its files.
const LONGEST: usize = 4096 - 128;

/// One container's cgroup: where it is in every hierarchy.
///
/// ```no_run
/// use std::time::Duration;
/// use runtime_core::cgroup::{Cgroup, Layout};
/// use runtime_core::spec::Resources;
///
/// # fn main() -> runtime_core::Result<()> {
/// let layout = Layout::probe()?;
/// let mut cgroup = Cgroup::resolve(&layout, Some("/demo/one"), "one")?;
/// println!("to be able to clean up after a crash, keep this: {}", cgroup.to_line());
/// cgroup.create(&Resources::default())?;
/// cgroup.apply(&Resources::default(), &[])?;
/// cgroup.remove(Duration::from_secs(1))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    mode: Mode,
    places: Vec<Place>,
    /// Hierarchies in which this process may not make a cgroup are left out, as long as they are not needed.
    lenient: bool,
}

/// The cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    controllers: String,
    mount: PathBuf,
    /// Below the mount, with a leading slash.
    path: String,
    /// How many directories above it were made for it.
    parents: usize,
    /// Whether `create` made it: then it is as the kernel makes it, and nobody else's.
    fresh: bool,
    /// Whether it was left out.
    absent: bool,
    /// Whether `create` is done with it.
    made: bool,
}

impl Place {
    fn dir(&self) -> PathBuf {
        layout::below(&self.mount, &self.path)
    }

    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    fn has(&self, controller: &str) -> bool {
        let mut names = self.controllers.split(',');
        names.any(|name| name == controller || name.strip_prefix("name=") == Some(controller))
    }
}

impl Cgroup {
    /// From `linux.cgroupsPath`: an absolute path is relative to the mount points, any other one to this process's own
    /// cgroup (on version 2 to the parent of that, because a cgroup with processes cannot have limited children).
    /// Without a path it is `id` there.
    ///
    /// Nothing is made and nothing on the host is looked at. Paths with `..` or control characters are refused.
    pub fn resolve(layout: &Layout, cgroups_path: Option<&str>, id: &str) -> Result<Cgroup> {
        let wanted = match cgroups_path {
            None | Some("") => path::clean(&format!("./{id}"))?,
            Some(given) => path::clean(given)?,
        };
        let mode = layout.mode();
        let place = |hierarchy: &Hierarchy| {
            let path = if wanted.starts_with('/') {
                wanted.clone()
            } else {
                let base = if mode == Mode::V2 {
                    path::parent(&hierarchy.own)
                } else {
                    &hierarchy.own
                };
                path::join(base, &wanted)
            };
            if hierarchy.mount.as_os_str().len() + path.len() > LONGEST {
                return Err(Error::new(Code::InvalidConfig, "resolve cgroup path")
                    .operand(wanted.chars().take(64).collect::<String>())
                    .reason(format!("it is longer than {LONGEST} bytes with its mount point")));
            }
            if path::is_clean_absolute(&path) {
                return Ok(Place::new(hierarchy, path));
            }
            Err(Error::new(Code::Cgroup, "resolve cgroup path").operand(&path).reason(
                "this process's own cgroup is outside of its cgroup namespace, so a relative path leads nowhere",
            ))
        };
        let places = layout.hierarchies().iter().map(place).collect::<Result<_>>()?;
        Ok(Cgroup {
            mode,
            places,
            lenient: false,
        })
    }

    /// For callers without privileges: hierarchies in which they may not make a cgroup are left out. Limits that
    /// would need one of those are still an error.
    pub fn lenient(mut self) -> Cgroup {
        self.lenient = true;
        self
    }

    /// The line for the state directory, which is enough to kill and remove everything.
    ///
    /// It is valid before [`Cgroup::create`], which is when it has to be written. When [`Cgroup::made_parents`] says so
    /// after that, writing it again lets a later process remove those too.
    pub fn to_line(&self) -> String {
        let common = self.places.first().map_or("/", |place| place.path.as_str());
        let entry = |names: &str, place: &Place| format!("{names}:{}:{}", place.parents, place.path);
        let mut entries = vec![format!("*:0:{common}")];
        let differs = |place: &&Place| place.path != common || place.parents != 0;
        entries.extend(
            self.places
                .iter()
                .filter(differs)
                .map(|place| entry(&place.controllers, place)),
        );
        entries.join("\t")
    }

    /// The reverse of [`Cgroup::to_line`]. Hierarchies that were mounted since have the same path as the first one.
    pub fn from_line(layout: &Layout, line: &str) -> Result<Cgroup> {
        let mut common = None;
        let mut special = Vec::new();
        for entry in line.trim_end_matches('\n').split('\t') {
            let entry = parse_entry(entry).ok_or_else(|| {
                Error::new(Code::State, "read cgroup line")
                    .operand(entry)
                    .reason("not a cgroup of a container")
            })?;
            match entry {
                ("*", _, path) => common = Some(path),
                other => special.push(other),
            }
        }
        let common = common.ok_or_else(|| {
            Error::new(Code::State, "read cgroup line")
                .operand(line)
                .reason("it does not say where the cgroup is")
        })?;
        let place = |hierarchy: &Hierarchy| {
            let own = special
                .iter()
                .find(|(names, _, _)| *names == hierarchy.controllers);
            let (parents, path) = own.map_or((0, common), |&(_, parents, path)| (parents, path));
            Place {
                parents,
                ..Place::new(hierarchy, path.to_owned())
            }
        };
        let places = layout.hierarchies().iter().map(place).collect();
        Ok(Cgroup {
            mode: layout.mode(),
            places,
            lenient: false,
        })
    }

    /// Whether [`Cgroup::create`] had to make directories above the cgroup, which [`Cgroup::remove`] removes again
    /// when they are empty.
    pub fn made_parents(&self) -> bool {
        self.places.iter().any(|place| place.parents != 0)
    }

    /// Directory in the hierarchy of `controller` (`""` for version 2), if that hierarchy exists. On a host with
    /// version 2 alone that has all controllers.
    pub fn dir(&self, controller: &str) -> Option<PathBuf> {
        self.place(controller).map(Place::dir)
    }

    /// Path inside the hierarchy of `controller` (`""` for version 2), if that hierarchy exists.
    pub fn path(&self, controller: &str) -> Option<&str> {
        self.place(controller).map(|place| place.path.as_str())
    }

    /// The place of a version 1 controller, or of version 2 where that has them all.
    fn place(&self, controller: &str) -> Option<&Place> {
        let fits = |place: &&Place| place.is_v2() && self.mode == Mode::V2 || place.has(controller);
        self.present().find(fits)
    }

    /// Where a controller's files are: in its version 1 hierarchy, or, if it has none, in the version 2 tree.
    fn home(&self, controller: &str) -> Option<&Place> {
        let v1 = self.place(v2::origin(controller));
        v1.or_else(|| self.v2().filter(|_| v2::CONTROLLERS.contains(&controller)))
    }

    fn v2(&self) -> Option<&Place> {
        self.present().find(|place| place.is_v2())
    }

    fn present(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| !place.absent)
    }
}

impl Place {
    fn new(hierarchy: &Hierarchy, path: String) -> Place {
        Place {
            controllers: hierarchy.controllers.clone(),
            mount: hierarchy.mount.clone(),
            path,
            parents: 0,
            fresh: false,
            absent: false,
            made: false,
        }
    }
}

/// `controllers:parents:path`; a path with fewer components than that is nothing that we wrote.
fn parse_entry(entry: &str) -> Option<(&str, usize, &str)> {
    let mut fields = entry.splitn(3, ':');
    let (names, parents, path) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
    let depth = path.matches('/').count();
    (path::is_clean_absolute(path) && parents < depth).then_some((names, parents, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hybrid() -> Layout {
        Layout::of(&[
            ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/"),
            ("memory", "/sys/fs/cgroup/memory", "/api/7"),
            ("name=systemd", "/sys/fs/cgroup/systemd", "/"),
            ("", "/sys/fs/cgroup/unified", "/api"),
        ])
    }

    fn pure(own: &str) -> Layout {
        Layout::of(&[("", "/sys/fs/cgroup", own)])
    }

    #[test]
    fn without_a_path_it_is_below_the_own_cgroup() {
        for given in [None, Some("")] {
            let cgroup = Cgroup::resolve(&hybrid(), given, "one").unwrap();
            assert_eq!(cgroup.path("cpuacct"), Some("/one"));
            assert_eq!(cgroup.path("memory"), Some("/api/7/one"));
            assert_eq!(cgroup.path(""), Some("/api/one"));
            assert_eq!(
                cgroup.dir("systemd"),
                Some(PathBuf::from("/sys/fs/cgroup/systemd/one"))
            );
            assert_eq!(cgroup.dir("name=systemd"), cgroup.dir("systemd"));
            assert_eq!(cgroup.dir("pids"), None);
        }
    }

    #[test]
    fn on_v2_it_is_beside_the_own_cgroup() {
        let path = |own, given| {
            let cgroup = Cgroup::resolve(&pure(own), given, "one").unwrap();
            cgroup.path("").unwrap().to_owned()
        };
        assert_eq!(path("/user.slice/session-1.scope", None), "/user.slice/one");
        assert_eq!(
            path("/user.slice/session-1.scope", Some("a/b")),
            "/user.slice/a/b"
        );
        assert_eq!(path("/", None), "/one");
        assert_eq!(path("/user.slice", Some("/a//b/")), "/a/b");
        let cgroup = Cgroup::resolve(&pure("/"), None, "one").unwrap();
        assert_eq!(cgroup.dir("memory"), cgroup.dir(""));
    }

    #[test]
    fn hostile_paths_and_ids_are_refused() {
        for path in ["..", "/..", "/a/../../b", "a/..", "/", "/.", "a\0", "a\nb", "\t"] {
            let error = Cgroup::resolve(&hybrid(), Some(path), "one").unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig, "{path:?}");
        }
        for path in ["/d".repeat(2000), "d/".repeat(2000)] {
            let error = Cgroup::resolve(&hybrid(), Some(&path), "one").unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig);
        }
        assert!(Cgroup::resolve(&hybrid(), Some(&"/d".repeat(1900)), "one").is_ok());
        for id in ["..", "../x", ".", "", "a\nb"] {
            assert!(Cgroup::resolve(&hybrid(), None, id).is_err(), "{id:?}");
        }
        // Absolute-looking ids must not become absolute paths.
        assert_eq!(
            Cgroup::resolve(&hybrid(), None, "/x").unwrap().path("memory"),
            Some("/api/7/x")
        );
    }

    #[test]
    fn an_own_cgroup_outside_of_the_namespace_is_an_error_for_relative_paths_only() {
        let error = Cgroup::resolve(&pure("/../../x"), Some("a"), "one").unwrap_err();
        assert_eq!(error.code(), Code::Cgroup);
        assert!(Cgroup::resolve(&pure("/../../x"), Some("/a"), "one").is_ok());
    }

    #[test]
    fn the_line_is_one_line_and_comes_back_the_same() {
        for path in [None, Some("/a:b/c d"), Some("x=y/*"), Some("/ü")] {
            let mut cgroup = Cgroup::resolve(&hybrid(), path, "one").unwrap();
            assert_eq!(Cgroup::from_line(&hybrid(), &cgroup.to_line()).unwrap(), cgroup);
            if path == Some("/a:b/c d") {
                cgroup.places[1].parents = 1;
                assert!(cgroup.made_parents());
            }
            let line = cgroup.to_line();
            assert!(!line.contains('\n') && !line.is_empty());
            assert_eq!(
                Cgroup::from_line(&hybrid(), &format!("{line}\n")).unwrap(),
                cgroup,
                "{line}"
            );
        }
        assert_eq!(
            Cgroup::resolve(&pure("/"), None, "one").unwrap().to_line(),
            "*:0:/one"
        );
    }

    #[test]
    fn the_line_does_not_depend_on_who_reads_it() {
        let line = Cgroup::resolve(&hybrid(), None, "one").unwrap().to_line();
        let elsewhere = Layout::of(&[
            ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/other"),
            ("memory", "/sys/fs/cgroup/memory", "/other"),
            ("pids", "/sys/fs/cgroup/pids", "/other"),
        ]);
        let cgroup = Cgroup::from_line(&elsewhere, &line).unwrap();
        assert_eq!(cgroup.path("memory"), Some("/api/7/one"));
        assert_eq!(cgroup.path("cpu"), Some("/one"));
        assert_eq!(cgroup.path("pids"), Some("/one"));
    }

    #[test]
    fn damaged_lines_are_errors() {
        for line in [
            "",
            "\n",
            "/a",
            "*:0:/",
            "*:0:",
            "*:0:a",
            "*:0:/a/../..",
            "*:1:/a",
            "*:-1:/a",
            "*:0:/a\tmemory:0:/..",
            "memory:0:/a",
            "*:0:/a\t",
            "*:0:/a\n*:0:/b",
            "\u{0}",
        ] {
            let error = Cgroup::from_line(&hybrid(), line).unwrap_err();
            assert_eq!(error.code(), Code::State, "{line:?}");
        }
    }
}
