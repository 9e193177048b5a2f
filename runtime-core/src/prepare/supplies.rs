//! What the runtime makes while init is under way: detached mounts, and the files by which a cgroup is joined. It costs
//! about as much time as the namespaces that init makes meanwhile.

use std::os::fd::OwnedFd;
use std::path::Path;

use runtime_init::{Attributes, Supply};

use super::{copy_up, mounts};
use crate::error::{Code, Error, Result};
use crate::plan::{Mount, Source};

/// One descriptor to be made.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    /// A copy of a part of the host's tree.
    Tree {
        path: &'a Path,
        recursive: bool,
        attributes: &'a [Attributes],
    },
    /// A new file system.
    Fs(&'a Mount),
    /// An empty directory.
    Empty,
    /// A file of the cgroup.
    Task,
}

/// All of them, in the order in which init knows them.
#[derive(Debug, Default)]
pub(super) struct Supplies<'a>(Vec<Kind<'a>>);

impl<'a> Supplies<'a> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn tree(&mut self, path: &'a Path, recursive: bool, attributes: &'a [Attributes]) -> Supply {
        self.add(Kind::Tree {
            path,
            recursive,
            attributes,
        })
    }

    pub(super) fn fs(&mut self, mount: &'a Mount) -> Supply {
        self.add(Kind::Fs(mount))
    }

    pub(super) fn empty(&mut self) -> Supply {
        self.add(Kind::Empty)
    }

    pub(super) fn task(&mut self) -> Supply {
        self.add(Kind::Task)
    }

    fn add(&mut self, kind: Kind<'a>) -> Supply {
        self.0.push(kind);
        Supply(self.0.len() as u32 - 1)
    }

    /// Makes them, where `umask` may take permissions away.
    pub(super) fn make(&self, tasks: Vec<OwnedFd>, umask: u32) -> Result<Vec<OwnedFd>> {
        let mut tasks = tasks.into_iter();
        let make = |kind: &Kind<'_>| match *kind {
            Kind::Tree {
                path,
                recursive,
                attributes,
            } => mounts::clone_tree(path, recursive, attributes),
            Kind::Fs(mount) => fs(mount, umask),
            Kind::Empty => mounts::empty(),
            Kind::Task => tasks.next().ok_or_else(|| {
                Error::new(Code::Cgroup, "join cgroup").reason("a hierarchy was unmounted meanwhile")
            }),
        };
        self.0.iter().map(make).collect()
    }
}

fn fs(mount: &Mount, umask: u32) -> Result<OwnedFd> {
    let Source::Fs { kind, parameters } = &mount.source else {
        return Err(Error::new(Code::InvalidConfig, "make file system").operand(&mount.at));
    };
    let fd = mounts::new_fs(kind, parameters, &mount.attributes, &mount.at)?;
    if let Some(rootfs) = &mount.copy_up {
        copy_up::copy_up(rootfs, &mount.at, &fd)?;
    }
    mounts::fill(&fd, &mount.contents, &mount.at, umask)?;
    Ok(fd)
}
