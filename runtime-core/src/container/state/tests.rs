use std::os::fd::AsFd;

use super::{FORMAT, Saved, date, name_in, now, timestamp, user_name};
use crate::container::dir::{STATE, StateDir, StateRoot};
use crate::container::identity::ProcessIdentity;
use crate::container::{State, Status};
use crate::error::Code;
use crate::sys::pidfd;
use crate::testing::Scratch;

fn write(dir: &StateDir, content: &[u8]) {
    dir.stage(STATE, content, 0o600).unwrap();
    dir.publish(STATE).unwrap();
}

fn dir(scratch: &Scratch) -> StateDir {
    StateRoot::new(scratch.path()).unwrap().claim("a").unwrap().0
}

fn saved() -> Saved {
    let pid = std::process::id() as i32;
    Saved {
        format: FORMAT,
        id: "a".to_owned(),
        init_process_pid: pid,
        init_process: ProcessIdentity::of(pid, pidfd::open(pid).unwrap().as_fd()).unwrap(),
        created: now(),
        oci_version: "1.2.0".to_owned(),
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        annotations: [("key".to_owned(), "value".to_owned())].into(),
        owner_uid: 0,
        cgroup: "v2 /a".to_owned(),
        own_pid_namespace: true,
        later_hooks: false,
        program: "sh".into(),
    }
}

#[test]
fn comes_back_as_it_was() {
    let scratch = Scratch::new();
    let dir = dir(&scratch);
    let saved = saved();
    saved.stage(&dir).unwrap();
    dir.publish(STATE).unwrap();
    let loaded = Saved::load(&dir).unwrap();
    assert_eq!(loaded, saved);
    assert!(loaded.init_process.open().unwrap().is_some());
}

#[test]
fn what_is_reported() {
    let saved = saved();
    let expected = State {
        oci_version: "1.2.0".to_owned(),
        id: "a".to_owned(),
        pid: std::process::id() as i32,
        status: Status::Running,
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        created: saved.created.clone(),
        annotations: saved.annotations.clone(),
        owner: "root".to_owned(),
    };
    assert_eq!(saved.clone().report(Status::Running), expected);
    assert_eq!(
        saved.report(Status::Stopped),
        State {
            pid: 0,
            status: Status::Stopped,
            ..expected
        }
    );
}

#[test]
fn older_and_newer_files() {
    let scratch = Scratch::new();
    let dir = dir(&scratch);
    let mut json = serde_json::to_value(saved()).unwrap();
    let object = json.as_object_mut().unwrap();
    object.retain(|key, _| matches!(key.as_str(), "id" | "init_process_pid" | "init_process"));
    object.insert("unknown".to_owned(), serde_json::json!([1]));
    write(&dir, json.to_string().as_bytes());
    assert_eq!(Saved::load(&dir).unwrap().init_process, saved().init_process);

    json["format"] = (FORMAT + 1).into();
    write(&dir, json.to_string().as_bytes());
    assert!(
        Saved::load(&dir)
            .unwrap_err()
            .to_string()
            .contains("newer program")
    );
    // Also when the rest has changed beyond recognition.
    write(&dir, br#"{"format": 99, "id": {}}"#);
    assert!(
        Saved::load(&dir)
            .unwrap_err()
            .to_string()
            .contains("newer program")
    );
}

#[test]
fn damaged_files_are_errors_with_a_remedy() {
    let scratch = Scratch::new();
    let dir = dir(&scratch);
    let check = |what: &str| {
        let error = Saved::load(&dir).unwrap_err();
        assert_eq!(error.code(), Code::State, "{what}");
        assert_eq!(
            error.operand_str(),
            dir.path().join("state.json").to_str(),
            "{what}"
        );
        assert!(error.to_string().contains("delete --force"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        error
    };
    assert_eq!(check("missing").raw_os_error(), Some(libc::ENOENT));
    let with = |key: &str, value: serde_json::Value| {
        let mut json = serde_json::to_value(saved()).unwrap();
        json[key] = value;
        json.to_string().into_bytes()
    };
    let whole = serde_json::to_vec(&saved()).unwrap();
    for content in [
        Vec::new(),
        b"garbage".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        vec![0; 4096],
        vec![0xff; 10],
        b"[".repeat(100_000),
        whole[..whole.len() - 1].to_vec(),
        with("id", "b".into()),
        with("id", 7.into()),
        with("init_process_pid", 0.into()),
        with("init_process_pid", (-1).into()),
        with("init_process_pid", 1.into()),
        with("init_process_pid", u64::MAX.into()),
        with("init_process", "x".into()),
        with("format", (-1).into()),
    ] {
        write(&dir, &content);
        check(&String::from_utf8_lossy(&content[..content.len().min(200)]));
    }
    for end in 0..whole.len() {
        write(&dir, &whole[..end]);
        check(&format!("truncated to {end}"));
    }
    std::fs::File::create(dir.path().join("state.json"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(check("huge").to_string().contains("larger than"));
    std::fs::remove_file(dir.path().join("state.json")).unwrap();
    std::fs::create_dir(dir.path().join("state.json")).unwrap();
    check("directory");
}

#[test]
fn dates() {
    for (days, expected) in [
        (0, (1970, 1, 1)),
        (58, (1970, 2, 28)),
        (59, (1970, 3, 1)),
        (364, (1970, 12, 31)),
        (789, (1972, 2, 29)),
        (10_956, (1999, 12, 31)),
        (11_016, (2000, 2, 29)),
        (11_017, (2000, 3, 1)),
        (19_782, (2024, 2, 29)),
        (47_540, (2100, 2, 28)),
        (47_541, (2100, 3, 1)),
        (157_113, (2400, 2, 29)),
        (2_932_896, (9999, 12, 31)),
    ] {
        assert_eq!(date(days), expected, "{days}");
    }
    // Every day follows the one before.
    let mut last = date(0);
    for days in 1..200_000 {
        let (year, month, day) = date(days);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = |month| match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let next = match last {
            (y, 12, 31) => (y + 1, 1, 1),
            (y, m, d) if d == length(m) => (y, m + 1, 1),
            (y, m, d) => (y, m, d + 1),
        };
        assert_eq!((year, month, day), next, "{days}");
        last = next;
    }
}

#[test]
fn timestamps() {
    assert_eq!(timestamp(0, 0), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(timestamp(1_709_251_199, 1), "2024-02-29T23:59:59.000000001Z");
    assert_eq!(
        timestamp(4_102_444_800, 999_999_999),
        "2100-01-01T00:00:00.999999999Z"
    );
    assert_eq!(now().len(), 30);
    assert!(now().as_str() > "2024-01-01");
}

#[test]
fn names_of_users() {
    let passwd = b"# comment\n\nbroken\n:x:7:7::/:\nroot:x:0:0:root:/root:/bin/sh\n\xff:x:8:8::/:\nalice:x:1000:1000::/:\ntwin:x:1000:1::/:\nlast:x:9:9::/:/bin/sh";
    for (uid, name) in [
        (0, Some("root")),
        (1000, Some("alice")),
        (9, Some("last")),
        (7, None),
        (8, None),
        (1, None),
        (u32::MAX, None),
    ] {
        assert_eq!(name_in(passwd, uid).as_deref(), name, "{uid}");
    }
    assert_eq!(user_name(0), "root");
    assert_eq!(user_name(4_000_000_000), "4000000000");
}
