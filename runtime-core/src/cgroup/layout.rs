//! Which hierarchies the host has, and where this process is in them.
//!
//! `/proc/self/cgroup` names the hierarchies, and by convention each is mounted below `/sys/fs/cgroup` under the name
//! of its controllers. The mount table, which can be thousands of lines long, is read only where that does not hold:
//! a hierarchy that is not at its usual place, or (inside a container) a mount that shows only a part of it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use super::{file, path};
use crate::error::{At, Code, Error, Result};

const ROOT: &str = "/sys/fs/cgroup";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// How the host mounts its hierarchies.
///
/// ```
/// # use runtime_core::cgroup::{Layout, Mode};
/// match Layout::probe().map(|layout| layout.mode()) {
///     Ok(Mode::V2) => println!("one tree"),
///     Ok(Mode::V1 | Mode::Hybrid) => println!("a tree for each group of controllers"),
///     Err(error) => println!("{error}"),
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 alone.
    V1,
    /// Version 2 alone.
    V2,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
}

/// One hierarchy.
///
/// ```
/// use runtime_core::cgroup::Hierarchy;
/// let memory = Hierarchy { controllers: "memory".into(), mount: "/sys/fs/cgroup/memory".into(), own: "/".into() };
/// assert!(memory.controllers.split(',').any(|name| name == "memory"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// As `/proc/self/cgroup` names them: `cpu,cpuacct`, `name=systemd`; empty for version 2.
    pub controllers: String,
    /// Mount point.
    pub mount: PathBuf,
    /// This process's own path below the mount point; it starts with a slash.
    pub own: String,
}

/// The host's hierarchies.
///
/// ```no_run
/// # fn main() -> runtime_core::Result<()> {
/// let layout = runtime_core::cgroup::Layout::probe()?;
/// for hierarchy in layout.hierarchies() {
///     println!("{:?} at {}", hierarchy.controllers, hierarchy.mount.display());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    mode: Mode,
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at the host.
    pub fn probe() -> Result<Layout> {
        Layout::detect(&Kernel)
    }

    /// How the host mounts its hierarchies.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The hierarchies that are mounted.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    fn detect(host: &impl Facts) -> Result<Layout> {
        let memberships = host
            .own_memberships()
            .at_path("read own cgroups", "/proc/self/cgroup")?;
        let unified = [ROOT, UNIFIED]
            .into_iter()
            .find(|path| host.kind(Path::new(path)) == Some(Fs::V2));
        let mut hierarchies = Vec::new();
        let mut odd = Vec::new();
        for line in memberships.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else {
                continue;
            };
            let mount = match (controllers, unified) {
                ("", found) => found.map(PathBuf::from),
                // Version 2 at the root decides: a private version 1 hierarchy elsewhere is not for containers.
                (_, Some(ROOT)) => continue,
                (controllers, _) => usual_mount(host, controllers),
            };
            match mount {
                Some(mount) if own == "/" || host.kind(&below(&mount, own)).is_some() => {
                    hierarchies.push(hierarchy(controllers, mount, own));
                }
                // An unmounted unified tree beside version 1 is the rule and no reason to look further.
                None if controllers.is_empty() && !hierarchies.is_empty() => {}
                _ => odd.push((controllers, own)),
            }
        }
        if !odd.is_empty() {
            let table = host
                .mount_table()
                .at_path("read the mount table", "/proc/self/mountinfo")?;
            hierarchies.extend(
                odd.into_iter()
                    .filter_map(|(controllers, own)| unusual(&table, controllers, own)),
            );
        }
        Layout::from_hierarchies(hierarchies)
    }

    fn from_hierarchies(hierarchies: Vec<Hierarchy>) -> Result<Layout> {
        let v2 = hierarchies
            .iter()
            .any(|hierarchy| hierarchy.controllers.is_empty());
        let v1 = hierarchies
            .iter()
            .any(|hierarchy| !hierarchy.controllers.is_empty());
        let mode = match (v1, v2) {
            (true, true) => Mode::Hybrid,
            (false, true) => Mode::V2,
            (true, false) => Mode::V1,
            (false, false) => {
                return Err(Error::new(Code::Unsupported, "find cgroups")
                    .operand(ROOT)
                    .reason("no cgroup file system is mounted"));
            }
        };
        Ok(Layout { mode, hierarchies })
    }

    #[cfg(test)]
    pub(super) fn of(hierarchies: &[(&str, &str, &str)]) -> Layout {
        let hierarchies = hierarchies
            .iter()
            .map(|(names, mount, own)| hierarchy(names, PathBuf::from(mount), own));
        Layout::from_hierarchies(hierarchies.collect()).expect("a layout")
    }
}

fn hierarchy(controllers: &str, mount: PathBuf, own: &str) -> Hierarchy {
    Hierarchy {
        controllers: controllers.to_owned(),
        mount,
        own: own.to_owned(),
    }
}

/// `path`, which starts with a slash, below `mount`.
pub(super) fn below(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

/// The directory that convention gives to a version 1 hierarchy: all names, or (as a link) any of them.
fn usual_mount(host: &impl Facts, controllers: &str) -> Option<PathBuf> {
    let all = controllers.strip_prefix("name=").unwrap_or(controllers);
    let each = all.split(',').filter(|_| all.contains(','));
    std::iter::once(all)
        .chain(each)
        .map(|name| Path::new(ROOT).join(name))
        .find(|path| host.kind(path) == Some(Fs::V1))
}

/// Finds a hierarchy in the mount table. What it shows may start below the hierarchy's root, and then the process's
/// own path is relative to that.
fn unusual(table: &str, controllers: &str, own: &str) -> Option<Hierarchy> {
    table.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, mount) = (unescape(place.next()?), unescape(place.next()?));
        let mut kind = kind.split(' ');
        let (fs, options) = (kind.next()?, kind.nth(1).unwrap_or(""));
        let fits = match controllers {
            "" => fs == "cgroup2",
            _ => {
                fs == "cgroup"
                    && controllers
                        .split(',')
                        .all(|name| options.split(',').any(|o| o == name))
            }
        };
        let own = path::below(&root, own)?;
        fits.then(|| hierarchy(controllers, PathBuf::from(mount), own))
    })
}

/// The mount table writes blanks and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = match code {
            Some(code) => {
                text.push(char::from(code));
                &after[3..]
            }
            None => after,
        };
    }
    text + rest
}

/// Kind of a cgroup file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fs {
    V1,
    V2,
}

/// What `detect` asks the host.
trait Facts {
    fn own_memberships(&self) -> io::Result<String>;
    fn mount_table(&self) -> io::Result<String>;
    /// Which cgroup file system `path` is in, if it exists and is in one.
    fn kind(&self, path: &Path) -> Option<Fs>;
}

struct Kernel;

impl Facts for Kernel {
    fn own_memberships(&self) -> io::Result<String> {
        Ok(file::read(Path::new("/proc/self/cgroup"))?)
    }

    fn mount_table(&self) -> io::Result<String> {
        // Mount points need not be UTF-8; those of cgroups are compared with names that are.
        fs::read("/proc/self/mountinfo").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn kind(&self, path: &Path) -> Option<Fs> {
        const V1: FsType = CGROUP_SUPER_MAGIC;
        const V2: FsType = CGROUP2_SUPER_MAGIC;
        match statfs(path.as_os_str().as_bytes()).ok()?.filesystem_type() {
            V1 => Some(Fs::V1),
            V2 => Some(Fs::V2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        memberships: &'static str,
        table: Option<&'static str>,
        v1: &'static [&'static str],
        v2: &'static [&'static str],
    }

    impl Facts for Host {
        fn own_memberships(&self) -> io::Result<String> {
            Ok(self.memberships.to_owned())
        }
        fn mount_table(&self) -> io::Result<String> {
            self.table
                .map(str::to_owned)
                .ok_or_else(|| io::Error::other("the mount table must not be read"))
        }
        fn kind(&self, path: &Path) -> Option<Fs> {
            let is = |list: &[&str]| list.iter().any(|entry| path == Path::new(entry));
            if is(self.v1) {
                Some(Fs::V1)
            } else if is(self.v2) {
                Some(Fs::V2)
            } else {
                None
            }
        }
    }

    fn shape(layout: &Layout) -> Vec<(&str, &str, &str)> {
        let row = |h: &'static Hierarchy| (h.controllers.as_str(), h.mount.to_str().unwrap(), h.own.as_str());
        Box::leak(Box::new(layout.clone()))
            .hierarchies()
            .iter()
            .map(row)
            .collect()
    }

    #[test]
    fn pure_v2_reads_no_mount_table() {
        let host = Host {
            memberships: "1:name=private:/\n0::/user.slice/session-1.scope\n",
            table: None,
            v1: &[],
            v2: &["/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session-1.scope"],
        };
        let layout = Layout::detect(&host).unwrap();
        assert_eq!(layout.mode(), Mode::V2);
        assert_eq!(
            shape(&layout),
            [("", "/sys/fs/cgroup", "/user.slice/session-1.scope")]
        );
    }

    #[test]
    fn hybrid_finds_shared_mounts_by_any_of_their_names() {
        let host = Host {
            memberships: "3:net_cls,net_prio:/\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/init.scope\n",
            table: None,
            v1: &[
                "/sys/fs/cgroup/net_cls,net_prio",
                "/sys/fs/cgroup/cpuacct",
                "/sys/fs/cgroup/systemd",
                "/sys/fs/cgroup/systemd/init.scope",
            ],
            v2: &["/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/init.scope"],
        };
        let layout = Layout::detect(&host).unwrap();
        assert_eq!(layout.mode(), Mode::Hybrid);
        assert_eq!(
            shape(&layout),
            [
                ("net_cls,net_prio", "/sys/fs/cgroup/net_cls,net_prio", "/"),
                ("cpu,cpuacct", "/sys/fs/cgroup/cpuacct", "/"),
                ("name=systemd", "/sys/fs/cgroup/systemd", "/init.scope"),
                ("", "/sys/fs/cgroup/unified", "/init.scope"),
            ]
        );
    }

    #[test]
    fn v1_without_a_unified_tree_reads_no_mount_table() {
        let host = Host {
            memberships: "2:memory:/\n1:cpu:/\n0::/\n",
            table: None,
            v1: &["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu"],
            v2: &[],
        };
        let layout = Layout::detect(&host).unwrap();
        assert_eq!(layout.mode(), Mode::V1);
        assert_eq!(layout.hierarchies().len(), 2);
    }

    #[test]
    fn odd_places_and_partial_mounts_are_found_in_the_mount_table() {
        let host = Host {
            memberships: "2:memory:/docker/abc/sub\n1:name=elogind:/\n0::/\n",
            table: Some(
                "22 1 0:3 / /proc rw - proc proc rw\n\
                 30 1 0:9 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 31 1 0:8 / /run/my\\040cg rw,nosuid shared:3 - cgroup none rw,name=elogind\n",
            ),
            v1: &["/sys/fs/cgroup/memory"],
            v2: &[],
        };
        let layout = Layout::detect(&host).unwrap();
        assert_eq!(layout.mode(), Mode::V1);
        assert_eq!(
            shape(&layout),
            [
                ("memory", "/sys/fs/cgroup/memory", "/sub"),
                ("name=elogind", "/run/my cg", "/")
            ]
        );
    }

    #[test]
    fn no_cgroups_at_all_is_a_clear_error() {
        let host = Host {
            memberships: "0::/\n",
            table: Some(""),
            v1: &[],
            v2: &[],
        };
        let error = Layout::detect(&host).unwrap_err();
        assert_eq!(error.code(), Code::Unsupported);
        assert_eq!(
            error.to_string(),
            "find cgroups \"/sys/fs/cgroup\": no cgroup file system is mounted"
        );
    }

    #[test]
    fn this_host_has_hierarchies_that_exist() {
        let layout = Layout::probe().unwrap();
        assert!(!layout.hierarchies().is_empty());
        for hierarchy in layout.hierarchies() {
            assert!(hierarchy.own.starts_with('/'), "{hierarchy:?}");
            assert!(
                below(&hierarchy.mount, &hierarchy.own)
                    .join("cgroup.procs")
                    .exists(),
                "{hierarchy:?}"
            );
        }
    }
}
