//! What goes into a new file system is made by whoever makes that: nodes, links and mount points right below the root
//! of a tmpfs of the runtime's are there before it is in place. That takes a call each, without a walk, and what they
//! allocate is not charged to the container.

use std::path::Path;

use runtime_init::{DirMode, Target};

use super::{Action, By, Entry, Source};

/// The last part of `path`, if `parent` is all that is before it.
fn child<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    let name = path.strip_prefix(parent)?.strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Moves entries into the file systems that they are going to be in.
pub(super) fn furnish(actions: &mut Vec<Action>) {
    for index in 0..actions.len() {
        let (before, after) = actions.split_at_mut(index + 1);
        let Some(Action::Mount(mount)) = before.last_mut() else {
            continue;
        };
        let own = matches!(&mount.source, Source::Fs { kind, .. } if kind == "tmpfs");
        // What is copied into it may be in the place of others, which only the walk copes with.
        if !own || mount.by != By::Runtime || mount.copy_up.is_some() {
            continue;
        }
        for action in after {
            // Something else is mounted over it from here on.
            if matches!(action, Action::Mount(other) if other.at == mount.at) {
                break;
            }
            let entry = entry(action, &mount.at);
            let Some((entry, whole)) = entry else { continue };
            if !mount.contents.iter().any(|other| other.name() == entry.name()) {
                mount.contents.push(entry);
                if whole {
                    *action = Action::Nothing;
                }
            }
        }
    }
    actions.retain(|action| *action != Action::Nothing);
    shorten(actions);
}

/// Lets mounts on directories that were made so be put there without a walk from the root.
fn shorten(actions: &mut [Action]) {
    let mut index = 0;
    while index < actions.len() {
        let (before, after) = actions.split_at_mut(index + 1);
        index += 1;
        let Some(Action::Mount(base)) = before.last_mut() else {
            continue;
        };
        if base.contents.is_empty() {
            continue;
        }
        let mut taken: Vec<&str> = Vec::new();
        for action in after {
            let Action::Mount(mount) = action else { continue };
            // What is mounted over the base, or is a base itself, ends this one.
            if Path::new(&base.at).starts_with(&mount.at) || !mount.contents.is_empty() {
                break;
            }
            let Some(name) = child(&mount.at, &base.at) else {
                continue;
            };
            let entry = base.contents.iter().find(|entry| entry.name() == name);
            let (Some(Entry::Directory { name }), false) = (entry, taken.contains(&name)) else {
                continue;
            };
            // Once only: what is on it then is not known to be fit for a mount.
            taken.push(name);
            let plain = mount.target == Target::Directory && mount.flags.mode == DirMode::Own;
            if let (true, Ok(start)) = (plain, u16::try_from(base.at.len() + 1)) {
                mount.flags.below = start;
                base.flags.base = true;
            }
        }
    }
}

/// What `action` puts right below `parent`, and whether that is all it does.
fn entry(action: &Action, parent: &str) -> Option<(Entry, bool)> {
    match action {
        Action::Mount(mount) if mount.target == Target::Directory => Some((
            Entry::Directory {
                name: child(&mount.at, parent)?.to_owned(),
            },
            false,
        )),
        Action::Mknod {
            at,
            mode,
            device,
            uid,
            gid,
        } => {
            let name = child(at, parent)?.to_owned();
            Some((
                Entry::Node {
                    name,
                    mode: *mode,
                    device: *device,
                    uid: *uid,
                    gid: *gid,
                },
                true,
            ))
        }
        Action::Symlink { at, to } => Some((
            Entry::Symlink {
                name: child(at, parent)?.to_owned(),
                to: to.clone(),
            },
            true,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Mount;
    use runtime_init::PlaceFlags;

    fn tmpfs(at: &str, by: By) -> Action {
        Action::Mount(Mount {
            at: at.into(),
            source: Source::Fs {
                kind: "tmpfs".into(),
                parameters: vec![],
            },
            by,
            attributes: vec![],
            target: Target::Directory,
            flags: PlaceFlags::default(),
            contents: vec![],
            copy_up: None,
        })
    }

    /// Where the mounts among `actions` start below a base.
    fn below(actions: &[Action]) -> Vec<u16> {
        let mounts = actions.iter().filter_map(|action| match action {
            Action::Mount(mount) => Some(mount.flags.below),
            _ => None,
        });
        mounts.collect()
    }

    fn link(at: &str) -> Action {
        Action::Symlink {
            at: at.into(),
            to: "x".into(),
        }
    }

    fn contents(action: &Action) -> Vec<&str> {
        match action {
            Action::Mount(mount) => mount.contents.iter().map(Entry::name).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn entries_move_into_the_file_system_above_them() {
        let mut actions = vec![
            tmpfs("/dev", By::Runtime),
            tmpfs("/dev/shm", By::Runtime),
            link("/dev/fd"),
            link("/dev/a/b"),
            link("/x"),
        ];
        furnish(&mut actions);
        assert_eq!(contents(&actions[0]), ["shm", "fd"]);
        assert_eq!(actions[2..], [link("/dev/a/b"), link("/x")]);
    }

    #[test]
    fn a_mount_over_it_ends_it_and_other_makers_keep_their_own() {
        let mut actions = vec![
            tmpfs("/dev", By::Runtime),
            tmpfs("/dev", By::Init),
            link("/dev/fd"),
        ];
        furnish(&mut actions);
        assert_eq!(contents(&actions[0]), [""; 0]);
        assert_eq!(actions[2], link("/dev/fd"));
    }

    #[test]
    fn one_that_starts_with_a_copy_is_left_alone() {
        let mut copied = tmpfs("/dev", By::Runtime);
        if let Action::Mount(mount) = &mut copied {
            mount.copy_up = Some("/rootfs".into());
        }
        let mut actions = vec![copied, link("/dev/fd")];
        furnish(&mut actions);
        assert_eq!(contents(&actions[0]), [""; 0]);
        assert_eq!(actions[1], link("/dev/fd"));
    }

    #[test]
    fn directories_of_ones_own_need_no_walk_once() {
        let mut inherits = tmpfs("/dev/own", By::Init);
        let mut file = tmpfs("/dev/file", By::Init);
        if let (Action::Mount(inherits), Action::Mount(file)) = (&mut inherits, &mut file) {
            inherits.flags.mode = DirMode::Inherit;
            file.target = Target::LikeSource;
        }
        let mut actions = vec![
            tmpfs("/sys", By::Init),
            tmpfs("/dev", By::Runtime),
            tmpfs("/dev/pts", By::Init),
            tmpfs("/dev/pts", By::Init),
            tmpfs("/dev/a/b", By::Init),
            inherits,
            file,
            tmpfs("/sys/fs", By::Init),
            tmpfs("/dev/shm", By::Init),
        ];
        furnish(&mut actions);
        assert_eq!(below(&actions), [0, 0, 5, 0, 0, 0, 0, 0, 5]);
        let bases = actions
            .iter()
            .map(|action| matches!(action, Action::Mount(mount) if mount.flags.base));
        assert_eq!(bases.collect::<Vec<_>>().iter().position(|&base| base), Some(1));
    }

    #[test]
    fn what_is_covered_or_followed_by_another_is_no_base() {
        let mut actions = vec![
            tmpfs("/a/dev", By::Runtime),
            tmpfs("/a", By::Init),
            tmpfs("/a/dev/pts", By::Init),
        ];
        furnish(&mut actions);
        assert_eq!(below(&actions), [0, 0, 0]);
        let mut actions = vec![
            tmpfs("/dev", By::Runtime),
            tmpfs("/b", By::Runtime),
            tmpfs("/b/c", By::Init),
            tmpfs("/dev/pts", By::Init),
        ];
        furnish(&mut actions);
        assert_eq!(below(&actions), [0, 0, 3, 0]);
    }
}
