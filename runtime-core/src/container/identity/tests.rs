use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use super::{ProcessIdentity, boot_id, has_ended, parse_handle, parse_start, start_time};
use crate::sys::pidfd;

/// A process that lives until its standard input is closed.
fn child() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn identity(child: &Child) -> ProcessIdentity {
    let pid = child.id() as i32;
    ProcessIdentity::of(pid, pidfd::open(pid).unwrap().as_fd()).unwrap()
}

/// The same process as hosts without handles of pidfds know it.
fn by_start_time(child: &Child) -> ProcessIdentity {
    let pid = child.id() as i32;
    ProcessIdentity {
        pid,
        boot: boot_id().unwrap().to_owned(),
        handle: None,
        start: start_time(pid).unwrap(),
    }
}

fn wait_for_zombie(child: &Child) {
    let pidfd = pidfd::open(child.id() as i32).unwrap();
    for _ in 0..1000 {
        if has_ended(pidfd.as_fd()).unwrap() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the child does not end");
}

#[test]
fn found_while_it_lives_and_never_after() {
    for identify in [identity, by_start_time] {
        let mut child = child();
        let identity = identify(&child);
        assert_eq!(identity.pid(), child.id() as i32);
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(
            serde_json::from_str::<ProcessIdentity>(&json).unwrap(),
            identity,
            "{json}"
        );

        let found = identity.open().unwrap().expect("it lives");
        assert!(!has_ended(found.as_fd()).unwrap());
        pidfd::send_signal(found.as_fd(), libc::SIGKILL).unwrap();
        wait_for_zombie(&child);
        assert!(has_ended(found.as_fd()).unwrap());
        assert!(identity.open().unwrap().is_none(), "a zombie");
        child.wait().unwrap();
        assert!(identity.open().unwrap().is_none(), "reaped");
    }
}

#[test]
fn a_stranger_with_the_pid_is_not_taken_for_it() {
    let mut child = child();
    let start = start_time(child.id() as i32).unwrap().unwrap();
    let stranger = ProcessIdentity {
        start: Some(start + 1),
        ..by_start_time(&child)
    };
    assert!(stranger.open().unwrap().is_none());
    let identity = identity(&child);
    if let Some(mut handle) = identity.handle.clone() {
        // A number that is far from being reached: a near one may be that of another process.
        if let Some(highest) = handle.bytes.last_mut() {
            *highest ^= 0x70;
        }
        let stranger = ProcessIdentity {
            handle: Some(handle),
            ..identity
        };
        assert!(stranger.open().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_outlives_the_boot() {
    let mut child = child();
    for identity in [identity(&child), by_start_time(&child)] {
        assert!(identity.open().unwrap().is_some());
        let earlier = ProcessIdentity {
            boot: "an earlier boot".to_owned(),
            ..identity
        };
        assert!(earlier.open().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn damaged_identities() {
    let boot = boot_id().unwrap();
    let with = |rest: &str| format!("{{\"pid\": 1, \"boot\": {boot:?}{rest}}}");
    for handle in [
        "",
        ":",
        "1",
        "1:0",
        "1:zz",
        "1:+1",
        "x:00",
        "1:é0",
        &format!("1:{}", "00".repeat(129)),
    ] {
        assert!(parse_handle(handle).is_none(), "{handle}");
        let json = with(&format!(", \"handle\": {handle:?}"));
        assert!(serde_json::from_str::<ProcessIdentity>(&json).is_err(), "{json}");
    }
    assert!(
        serde_json::from_str::<ProcessIdentity>(&with(""))
            .unwrap()
            .open()
            .is_err()
    );
    // A handle of another file system or of no sensible length names no process.
    for handle in ["1:00", "254:", "254:00", "-1:0000000000000000"] {
        let identity: ProcessIdentity =
            serde_json::from_str(&with(&format!(", \"handle\": {handle:?}"))).unwrap();
        assert!(!matches!(identity.open(), Ok(Some(_))), "{handle}");
    }
}

#[test]
fn start_times() {
    let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
    for name in ["(cat)", "(a b)", "(a) b)", "(((", "()) R 1)"] {
        let line = format!("1 {name}) {tail}");
        assert_eq!(parse_start(line.as_bytes()), Some(4242), "{line}");
    }
    for line in ["", ")", "1 (cat) S 1 2", "1 cat S"] {
        assert_eq!(parse_start(line.as_bytes()), None, "{line}");
    }
    assert_eq!(start_time(i32::MAX).unwrap(), None);
}
