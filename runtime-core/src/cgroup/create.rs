//! Making the cgroup's directories.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::Mode as Permissions;
use nix::unistd::{AccessFlags, Uid, access, chown, mkdir};

use super::{Cgroup, Mode, Place, file, layout, limits, path, remove};
use crate::error::{Code, Error, Result};
use crate::spec::Resources;

/// How often another runtime may remove our parent directory between our looking at it and our using it.
const ATTEMPTS: usize = 16;

impl Cgroup {
    /// Makes it in every hierarchy, with what is missing above it.
    ///
    /// On version 2 the controllers are enabled on the way; on version 1 a cpuset gets its parent's processors and
    /// memory nodes where `needs` names none. A cgroup that exists already is taken if it is empty and not frozen.
    /// After an error nothing is left of it, if nobody is in it.
    pub fn create(&mut self, needs: &Resources) -> Result<()> {
        self.make(needs, |_| true)?;
        if self.lenient && self.places.iter().all(|place| place.absent) {
            tracing::warn!("no cgroup was made: permission denied in every hierarchy");
        }
        Ok(())
    }

    /// Makes what a process needs to be born in it. [`Cgroup::create`] makes the rest.
    pub(crate) fn create_birthplace(&mut self, needs: &Resources) -> Result<()> {
        self.make(needs, Place::is_v2)
    }

    fn make(&mut self, needs: &Resources, which: impl Fn(&Place) -> bool) -> Result<()> {
        let controllers = limits::unified_controllers(self, needs)?;
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            if place.made || !which(place) {
                continue;
            }
            if let Err(error) = place.make(needs, self.lenient, self.mode, &controllers) {
                self.undo();
                return Err(error);
            }
            place.made = true;
        }
        Ok(())
    }

    /// Takes back what was made here, as far as nobody is in it.
    pub(crate) fn undo(&mut self) {
        self.places.iter_mut().for_each(remove::undo);
    }

    /// Gives the cgroup to the user `uid`, who may then divide it; what belongs to it is what the kernel says may be
    /// delegated. Only version 2 can do this safely, so on version 1 nothing happens.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(place) = self.v2().filter(|_| self.mode == Mode::V2) else {
            return Ok(());
        };
        let dir = place.dir();
        let owner = Some(Uid::from_raw(uid));
        chown(&dir, owner, None).map_err(|errno| file::failed("delegate cgroup", &dir, errno))?;
        let listed = file::read(Path::new("/sys/kernel/cgroup/delegate")).unwrap_or_default();
        let names = if listed.is_empty() {
            "cgroup.procs\ncgroup.subtree_control\ncgroup.threads"
        } else {
            &listed
        };
        for name in names.lines() {
            let file = dir.join(name);
            match chown(&file, owner, None) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(file::failed("delegate cgroup", &file, errno)),
            }
        }
        Ok(())
    }
}

impl Place {
    fn make(&mut self, needs: &Resources, lenient: bool, mode: Mode, controllers: &[&str]) -> Result<()> {
        let dir = self.dir();
        match self.make_directory(&dir) {
            Ok(fresh) => self.fresh = fresh,
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) if lenient => {
                self.absent = true;
                return Ok(());
            }
            Err(errno) => {
                let error = file::failed("make cgroup", &dir, errno);
                return Err(match errno {
                    Errno::EACCES | Errno::EPERM | Errno::EROFS => {
                        error.hint("only root, or whom a cgroup above was delegated to, can make one")
                    }
                    _ => error,
                });
            }
        }
        if !self.fresh {
            if lenient && access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_err() {
                self.absent = true;
                return Ok(());
            }
            self.check_unused(&dir)?;
        }
        if self.is_v2() {
            match mode {
                Mode::V2 => self.enable_all(&dir, needs)?,
                _ => self.enable(controllers),
            }
        } else if self.has("cpuset") {
            self.fill_cpuset(needs)?;
        }
        Ok(())
    }

    /// Makes the directory and what is missing above it; `false` when it was there.
    fn make_directory(&mut self, dir: &Path) -> Result<bool, Errno> {
        for _ in 0..ATTEMPTS {
            match mkdir(dir, Permissions::from_bits_truncate(0o755)) {
                Ok(()) => return Ok(true),
                Err(Errno::EEXIST) => return Ok(false),
                Err(Errno::ENOENT) => {
                    let parent = path::parent(&self.path).to_owned();
                    self.make_parent(&parent, 1)?;
                }
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EBUSY)
    }

    /// Makes the directory `at`, which is `above` levels above the cgroup, and what is missing above it; notes how far
    /// up directories are ours.
    fn make_parent(&mut self, at: &str, above: usize) -> Result<(), Errno> {
        if at == "/" {
            return Err(Errno::ENOENT);
        }
        let dir = layout::below(&self.mount, at);
        let permissions = Permissions::from_bits_truncate(0o755);
        let made = match mkdir(&dir, permissions) {
            Err(Errno::ENOENT) => {
                self.make_parent(path::parent(at), above + 1)?;
                mkdir(&dir, permissions)
            }
            made => made,
        };
        match made {
            Ok(()) => self.parents = self.parents.max(above),
            Err(Errno::EEXIST) => {}
            // Somebody removed its parent again; the caller starts over.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// A cgroup that exists may be used when nobody else uses it.
    fn check_unused(&self, dir: &Path) -> Result<()> {
        let refuse = |why: String, hint: &str| {
            Err(Error::new(Code::Cgroup, "use existing cgroup")
                .operand(dir)
                .reason(why)
                .hint(hint))
        };
        let procs = file::read(&dir.join("cgroup.procs"));
        let procs = procs.map_err(|errno| file::failed("use existing cgroup", dir, errno))?;
        let count = procs.lines().count();
        if count != 0 {
            let hint = "choose another linux.cgroupsPath, or end what runs there";
            return refuse(
                format!("container's cgroup is not empty: {count} process(es) found"),
                hint,
            );
        }
        let frozen = match (self.is_v2(), self.has("freezer")) {
            (true, _) => file::read(&dir.join("cgroup.freeze")).is_ok_and(|state| state.trim() == "1"),
            (_, true) => file::read(&dir.join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED"),
            _ => false,
        };
        if frozen {
            return refuse("container's cgroup unexpectedly frozen".into(), "thaw it");
        }
        Ok(())
    }

    /// Enables `controllers` for this cgroup alone, beside version 1: others are not meant to be there.
    fn enable(&self, controllers: &[&str]) {
        if !controllers.is_empty() {
            self.enable_from("/", controllers);
        }
    }

    /// Enables all controllers of the host from the root down to this cgroup.
    ///
    /// What cannot be enabled is no error here: a limit that needs it says so. Reading first is cheaper than writing
    /// what is set already, for which the kernel waits until dying cgroups are gone.
    fn enable_all(&self, dir: &Path, needs: &Resources) -> Result<()> {
        let list = |dir: &Path, file: &str| file::read(&dir.join(file)).unwrap_or_default();
        let available = list(&self.mount, "cgroup.controllers");
        let parent = layout::below(&self.mount, path::parent(&self.path));
        let missing = |enabled: &str| -> Vec<String> {
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            available
                .split_whitespace()
                .filter(|name| !enabled.contains(name))
                .map(str::to_owned)
                .collect()
        };
        if missing(&list(&parent, "cgroup.subtree_control")).is_empty() {
            return Ok(());
        }
        let wanted: Vec<&str> = available.split_whitespace().collect();
        self.enable_from("/", &wanted);
        // Only where something could not be enabled can the parent be one whose children are threads.
        if missing(&list(&parent, "cgroup.subtree_control")).is_empty() {
            Ok(())
        } else {
            self.check_type(dir, needs)
        }
    }

    fn enable_from(&self, top: &str, controllers: &[&str]) {
        let mut at = String::from(top);
        for name in self.path.split('/').skip(1) {
            let control = layout::below(&self.mount, &at).join("cgroup.subtree_control");
            let enabled = file::read(&control).unwrap_or_default();
            let enabled: Vec<&str> = enabled.split_whitespace().collect();
            let missing: Vec<String> = controllers
                .iter()
                .filter(|name| !enabled.contains(name))
                .map(|name| format!("+{name}"))
                .collect();
            // One that cannot be enabled fails the whole write.
            if !missing.is_empty() && file::write(&control, &missing.join(" ")).is_err() {
                for one in &missing {
                    let _ = file::write(&control, one);
                }
            }
            at = path::join(&at, name);
        }
    }

    /// Below a threaded cgroup a new one is invalid until it is made threaded, which rules some controllers out.
    fn check_type(&self, dir: &Path, needs: &Resources) -> Result<()> {
        let kind = file::read(&dir.join("cgroup.type")).unwrap_or_default();
        let kind = kind.trim();
        if !matches!(kind, "domain invalid" | "domain threaded" | "threaded") {
            return Ok(());
        }
        let domain = needs.memory.is_some() || needs.block_io.is_some() || !needs.hugepage_limits.is_empty();
        if domain {
            return Err(Error::new(Code::Cgroup, "make cgroup")
                .operand(dir)
                .reason(format!(
                    "its type is \"{kind}\", which has no memory, io and hugetlb limits"
                )));
        }
        if kind == "domain invalid" {
            let file = dir.join("cgroup.type");
            file::write(&file, "threaded")
                .map_err(|errno| file::failed("make threaded cgroup", &file, errno))?;
        }
        Ok(())
    }

    /// A version 1 cpuset starts empty, and no process can join it before it has processors and memory nodes.
    fn fill_cpuset(&self, needs: &Resources) -> Result<()> {
        let cpu = needs.cpu.as_ref();
        let given = |value: Option<&String>| value.is_some_and(|list| !list.is_empty());
        for (file, given) in [
            ("cpuset.cpus", given(cpu.and_then(|cpu| cpu.cpus.as_ref()))),
            ("cpuset.mems", given(cpu.and_then(|cpu| cpu.mems.as_ref()))),
        ] {
            let (start, known_empty) = if given {
                (path::parent(&self.path), false)
            } else {
                (&*self.path, self.fresh)
            };
            self.inherit(start, file, known_empty)?;
        }
        Ok(())
    }

    /// What `file` says in the cgroup `at`, copied from above if it is empty.
    fn inherit(&self, at: &str, file: &str, known_empty: bool) -> Result<String> {
        let target = layout::below(&self.mount, at).join(file);
        if !known_empty {
            let own =
                file::read(&target).map_err(|errno| file::failed(format!("read {file}"), &target, errno))?;
            if !own.trim().is_empty() || at == "/" {
                return Ok(own);
            }
        }
        let list = self.inherit(path::parent(at), file, false)?;
        match file::write(&target, list.trim()) {
            Ok(()) => Ok(list),
            Err(errno) => Err(file::failed(format!("write {file}"), &target, errno)),
        }
    }
}
