use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::{StateDir, StateRoot, valid_id};
use crate::error::{Code, Result};
use crate::testing::Scratch;

fn root(scratch: &Scratch) -> StateRoot {
    StateRoot::new(scratch.path().join("state/root")).unwrap()
}

fn claimed(root: &StateRoot, id: &str) -> StateDir {
    root.claim(id).unwrap().0
}

fn write(dir: &StateDir, name: &str, bytes: &[u8]) -> Result<()> {
    dir.stage(name, bytes, 0o600)?;
    dir.publish(name)
}

#[test]
fn ids() {
    let longest = "a".repeat(255);
    for id in ["a", "A-1_b+c.d", "...", ".a", "a.", "0", longest.as_str()] {
        assert!(valid_id(id).is_ok(), "{id:?}");
    }
    let (too_long, enormous) = ("a".repeat(256), "/".repeat(1 << 20));
    for id in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/",
        "/etc",
        "a\nb",
        "a b",
        "a\0",
        "-x",
        "--force",
        "a,b",
        "a:b",
        "ä",
        "a\\b",
        "*",
        "~",
        too_long.as_str(),
        enormous.as_str(),
    ] {
        let error = valid_id(id).unwrap_err();
        assert_eq!(error.code(), Code::InvalidId, "{id:?}");
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 400, "{text}");
    }
}

#[test]
fn every_entrance_refuses_ids_that_leave_the_root() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    drop(claimed(&root, "a"));
    std::fs::create_dir(scratch.path().join("state/outside")).unwrap();
    for id in [
        "",
        ".",
        "..",
        "../outside",
        "a/../../outside",
        "/tmp",
        "a\nb",
        "a/.",
    ] {
        assert_eq!(root.open(id).unwrap_err().code(), Code::InvalidId, "{id:?}");
        assert_eq!(root.claim(id).unwrap_err().code(), Code::InvalidId, "{id:?}");
    }
    assert!(scratch.path().join("state/outside").exists());
}

#[test]
fn paths_of_the_root() {
    let here = std::env::current_dir().unwrap();
    for (given, path) in [
        ("/run/x/", Path::new("/run/x").to_path_buf()),
        ("/run/./y/../x", Path::new("/run/x").to_path_buf()),
        ("/../run/x", Path::new("/run/x").to_path_buf()),
        ("x", here.join("x")),
        ("../x", here.parent().unwrap().join("x")),
    ] {
        assert_eq!(StateRoot::new(given).unwrap().path(), path, "{given}");
    }
    for refused in ["/", "//", "/.", "/..", "/a/..", ""] {
        assert_eq!(
            StateRoot::new(refused).unwrap_err().code(),
            Code::InvalidConfig,
            "{refused:?}"
        );
    }
}

#[test]
fn claiming_makes_private_directories() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (dir, _lock) = root.claim("a").unwrap();
    assert_eq!((dir.id(), dir.path()), ("a", root.path().join("a").as_path()));
    for path in [root.path(), dir.path()] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path:?}");
    }
    let error = root.claim("a").unwrap_err();
    assert_eq!(error.code(), Code::Exists);
    assert!(
        error
            .to_string()
            .contains("container with given ID already exists"),
        "{error}"
    );
}

#[test]
fn a_root_that_cannot_be_made() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("file"), "").unwrap();
    let root = StateRoot::new(scratch.path().join("file/root")).unwrap();
    let error = root.claim("a").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTDIR), "{error}");
    assert!(
        error
            .operand_str()
            .unwrap()
            .starts_with(scratch.path().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn unknown_ids() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    for round in 0..2 {
        let error = root.open("a").unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{round}");
        assert!(error.to_string().contains("container does not exist"), "{error}");
        drop(claimed(&root, &format!("b{round}")));
    }
    symlink("b0", root.path().join("link")).unwrap();
    std::fs::write(root.path().join("file"), "").unwrap();
    assert_eq!(root.open("link").unwrap_err().code(), Code::NotFound);
    assert_eq!(root.open("file").unwrap_err().code(), Code::NotFound);
    assert_eq!(root.claim("link").unwrap_err().code(), Code::Exists);
}

#[test]
fn listing() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    assert!(root.ids().unwrap().is_empty(), "the root is missing");
    for id in ["b", "a", "c"] {
        drop(claimed(&root, id));
    }
    std::fs::create_dir(root.path().join("no id")).unwrap();
    std::fs::create_dir(root.path().join("-x")).unwrap();
    std::fs::write(root.path().join("file"), "").unwrap();
    symlink("a", root.path().join("link")).unwrap();
    assert_eq!(root.ids().unwrap(), ["a", "b", "c"]);
}

#[test]
fn one_of_many_gets_the_name() {
    const THREADS: usize = 16;
    let scratch = Scratch::new();
    let root = root(&scratch);
    for round in 0..30 {
        let (start, winners) = (Barrier::new(THREADS), AtomicUsize::new(0));
        let id = format!("c{round}");
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    match root.claim(&id) {
                        Ok((dir, _lock)) => {
                            winners.fetch_add(1, Ordering::SeqCst);
                            dir.write_new("cgroup", b"x", 0o600).unwrap();
                        }
                        Err(error) => assert_eq!(error.code(), Code::Exists, "{error}"),
                    }
                });
            }
        });
        assert_eq!(winners.load(Ordering::SeqCst), 1, "round {round}");
    }
}

/// Claims and removals of one name against each other: whoever claims has it alone until it is removed.
#[test]
fn claims_against_removals() {
    const THREADS: usize = 8;
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (start, owners, claims) = (Barrier::new(THREADS), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (root, start, owners, claims) = (&root, &start, &owners, &claims);
            scope.spawn(move || {
                start.wait();
                for _ in 0..100 {
                    if thread % 2 == 0 {
                        if let Ok((dir, lock)) = root.claim("a") {
                            assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0, "two own the name");
                            claims.fetch_add(1, Ordering::SeqCst);
                            dir.write_new("cgroup", b"x", 0o600).unwrap();
                            write(&dir, "state.json", b"{}").unwrap();
                            owners.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    } else if let Ok(dir) = root.open("a")
                        && let Ok(_lock) = dir.lock()
                    {
                        assert_eq!(owners.load(Ordering::SeqCst), 0, "removed under its owner");
                        dir.remove_all().unwrap();
                    }
                }
            });
        }
    });
    assert!(claims.load(Ordering::SeqCst) > 0);
}

#[test]
fn locks() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (dir, lock) = root.claim("a").unwrap();
    let other = root.open("a").unwrap();
    assert!(other.try_lock().unwrap().is_none());
    let started = Instant::now();
    let error = other.lock_within(Duration::from_millis(60)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout, "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    assert!((60..2000).contains(&started.elapsed().as_millis()));

    let waiter = std::thread::spawn(move || other.lock().map(|_| ()));
    std::thread::sleep(Duration::from_millis(20));
    drop(lock);
    waiter.join().unwrap().unwrap();
    assert!(dir.try_lock().unwrap().is_some());
}

/// A process that was cloned while the lock was held has the descriptor too, but not the lock.
#[test]
fn a_lock_ends_although_a_child_has_the_descriptor() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (dir, lock) = root.claim("a").unwrap();
    let inherited = dir.fd().try_clone_to_owned().unwrap();
    drop(lock);
    assert!(root.open("a").unwrap().try_lock().unwrap().is_some());
    drop(inherited);
}

#[test]
fn a_lock_on_what_is_gone() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (dir, lock) = root.claim("a").unwrap();
    let late = root.open("a").unwrap();
    let later = root.open("a").unwrap();
    dir.remove_all().unwrap();
    drop(lock);
    let (_new, _lock) = root.claim("a").unwrap();
    assert_eq!(late.lock().unwrap_err().code(), Code::NotFound);
    assert_eq!(late.try_lock().unwrap_err().code(), Code::NotFound);
    // Nor does it touch the new directory of the same name.
    later.remove_all().unwrap();
    assert!(root.path().join("a").exists());
}

#[test]
fn files() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let dir = claimed(&root, "a");
    write(&dir, "state.json", b"one").unwrap();
    write(&dir, "state.json", b"two").unwrap();
    assert_eq!(dir.read("state.json", 3).unwrap(), b"two");
    let mode = std::fs::metadata(dir.path().join("state.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    // What a killed writer has left does not matter.
    std::fs::write(dir.path().join(".state.json"), "much longer than what is written").unwrap();
    write(&dir, "state.json", b"three").unwrap();
    assert_eq!(dir.read("state.json", 100).unwrap(), b"three");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    dir.write_new("cgroup", b"line", 0o600).unwrap();
    let error = dir.write_new("cgroup", b"other", 0o600).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EEXIST), "{error}");
    assert_eq!(dir.read("cgroup", 100).unwrap(), b"line");
}

#[test]
fn files_that_cannot_be_read() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let dir = claimed(&root, "a");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("large"), [0; 101]).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    symlink("large", path("link")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["large", "directory", "link", "absent"] {
        let error = dir.read(name, 100).unwrap_err();
        assert_eq!(error.code(), Code::State, "{error}");
        assert_eq!(error.operand_str(), path(name).to_str(), "{error}");
    }
    assert_eq!(dir.read("fifo", 100).unwrap(), b"", "and it does not hang");
    // Nor is anything written through a link.
    symlink(scratch.path().join("planted"), path(".x")).unwrap();
    assert_eq!(
        write(&dir, "x", b"y").unwrap_err().raw_os_error(),
        Some(libc::ELOOP)
    );
    assert!(!scratch.path().join("planted").exists());
}

#[test]
fn the_gate() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let dir = claimed(&root, "a");
    assert!(dir.gate().is_none());

    let init = dir.make_fifo().unwrap();
    assert!(dir.gate().is_some());
    let waiting = std::thread::spawn(move || {
        let mut byte = [0];
        std::fs::File::from(init).read_exact(&mut byte).map(|()| byte[0])
    });
    std::fs::File::from(dir.gate().unwrap()).write_all(b"s").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), b's');

    // Another test's child may have the descriptor between its fork and its exec.
    let started = Instant::now();
    while dir.gate().is_some() {
        assert!(started.elapsed().as_secs() < 10, "nobody waits at it");
        std::thread::yield_now();
    }
    dir.remove_fifo().unwrap();
    dir.remove_fifo().unwrap();
    assert!(dir.gate().is_none());
}

#[test]
fn removing_everything() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let dir = claimed(&root, "a");
    let outside = scratch.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    dir.make_fifo().unwrap();
    write(&dir, "state.json", b"{}").unwrap();
    symlink(&outside, dir.path().join("link")).unwrap();
    std::fs::create_dir_all(dir.path().join("notify/deeper")).unwrap();
    symlink(&outside, dir.path().join("notify/deeper/link")).unwrap();
    for n in 0..1000 {
        std::fs::write(dir.path().join(format!("file-with-a-longer-name-{n}")), "").unwrap();
    }
    let path = dir.path().to_owned();
    dir.remove_all().unwrap();
    assert!(!path.exists());
    assert!(outside.join("kept").exists());
}

#[test]
fn removing_again_and_from_everywhere() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    drop(claimed(&root, "a"));
    // As a removal that was killed leaves it: the state is the first to go.
    std::fs::write(root.path().join("a/cgroup"), "").unwrap();
    let dirs: Vec<StateDir> = (0..8).map(|_| root.open("a").unwrap()).collect();
    let start = Arc::new(Barrier::new(dirs.len()));
    let threads: Vec<_> = dirs
        .into_iter()
        .map(|dir| {
            let start = Arc::clone(&start);
            std::thread::spawn(move || {
                start.wait();
                dir.remove_all()
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert!(!root.path().join("a").exists());
    assert!(root.ids().unwrap().is_empty());
}

#[test]
fn a_directory_that_cannot_be_removed() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let dir = claimed(&root, "a");
    let deep: String = (0..20).map(|n| format!("/{n}")).collect();
    std::fs::create_dir_all(dir.path().join(deep.trim_start_matches('/'))).unwrap();
    let error = dir.remove_all().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EISDIR), "{error}");
}

#[test]
fn descriptors_are_closed_on_exec() {
    let scratch = Scratch::new();
    let root = root(&scratch);
    let (dir, _lock) = root.claim("a").unwrap();
    let fifo = dir.make_fifo().unwrap();
    let writer = dir.gate().unwrap();
    for fd in [dir.fd(), fifo.as_fd(), writer.as_fd()] {
        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
