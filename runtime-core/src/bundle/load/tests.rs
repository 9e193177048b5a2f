use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{MAX_CONFIG, field_at, parse, read_config};
use crate::Bundle;
use crate::bundle::spec::Spec;
use crate::error::{Code, Error};
use crate::testing::Scratch;

const GOOD: &str =
    r#"{"ociVersion": "1.2.0", "process": {"args": ["a"], "cwd": "/"}, "root": {"path": "rootfs"}}"#;

fn refusal(text: impl AsRef<[u8]>) -> Error {
    match parse::<Spec>(Path::new("/b/config.json"), text.as_ref()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, reason: &str) {
    let error = refusal(text);
    assert_eq!(error.code(), Code::InvalidConfig, "{error}");
    assert_eq!(error.operand_str(), Some("/b/config.json"));
    let message = error.to_string();
    assert!(message.contains(reason), "{message} does not say {reason:?}");
    assert!(!message.contains('\n') && message.len() < 400, "{message}");
    assert_eq!(message.matches("line").count(), 1, "{message}");
}

#[test]
fn syntax_errors_say_line_and_column() {
    refused("", "line 1, column 0");
    refused("{", "line 1, column 1");
    refused("{\n  \"root\": {,}\n}", "line 2, column 12: ");
    refused("{\n  \"ociVersion\": \"1.0\n\"}", "control character");
    refused("{} x", "line 1, column 4: trailing characters");
    refused("\"a\"", "line 1");
    refused("{\"hostname\": \"\\ud800\"}", "line 1, column");
    refused("\u{feff}{}", "line 1, column 1");
}

#[test]
fn wrong_types_name_the_field() {
    for (text, place) in [
        (r#"{"process": {"args": "sh"}}"#, "process.args: "),
        (r#"{"process": {"args": ["sh", 1]}}"#, "process.args[1]: "),
        (r#"{"hostname": "a\"b,:[{", "root": {"path": 1}}"#, "root.path: "),
        (
            r#"{"mounts": [{"destination": "/a"}, {"options": [[], "x"]}]}"#,
            "mounts[1].options",
        ),
        (r#"{"process": {"user": {"uid": -1}}}"#, "process.user.uid: "),
        (
            r#"{"process": {"user": {"uid": 4294967296}}}"#,
            "process.user.uid: ",
        ),
        (r#"{"process": {"user": {"uid": 1.5}}}"#, "process.user.uid: "),
        (r#"{"process": {"user": {"uid": 1e99}}}"#, "process.user.uid: "),
        (
            r#"{"process": {"oomScoreAdj": 99999999999}}"#,
            "process.oomScoreAdj: ",
        ),
        (
            r#"{"linux": {"resources": {"memory": {"limit": "1G"}}}}"#,
            "linux.resources.memory.limit: ",
        ),
        (
            r#"{"linux": {"namespaces": [{"type": "pid"}, {"type": "nope"}]}}"#,
            "linux.namespaces[1].type: ",
        ),
        (r#"{"annotations": {"a.b": 1}}"#, "annotations.a.b: "),
        (r#"{"process": 1}"#, "process: "),
    ] {
        refused(text, place);
    }
}

#[test]
fn places_are_found_in_any_layout() {
    let text = "{\n \"a\": {\"x\": [1,\n 2]},\n \"b\": [ {\"c\": [] } ,\n  {\"c\":\t5}]}";
    for (line, column, place) in [
        (2, 14, Some("a.x[0]")),
        (3, 2, Some("a.x[1]")),
        (5, 8, Some("b[1].c")),
        (1, 1, None),
        (0, 0, None),
    ] {
        assert_eq!(field_at(text, line, column).as_deref(), place, "{line}:{column}");
    }
}

#[test]
fn duplicates_unknown_fields_and_nulls() {
    refused(r#"{"root": {}, "root": {}}"#, "duplicate field `root`");
    let good =
        r#"{"ociVersion": null, "x-unknown": {"a": [1]}, "process": null, "mounts": null, "linux": null}"#;
    let spec: Spec = parse(Path::new("/c"), good.as_bytes()).unwrap();
    assert_eq!(spec, Spec::default());
}

#[test]
fn bytes_that_are_no_text() {
    refused(b"{\n \"hostname\": \"\xff\"}", "line 2, column 15: not UTF-8");
    refused(b"\xff", "line 1, column 1: not UTF-8");
    refused(b"{\"unknown\": \"\xc3\"}", "not UTF-8");
}

#[test]
fn depth_is_bounded() {
    let nested = |open: &str, close: &str, depth| open.repeat(depth) + &close.repeat(depth);
    refused(nested("[", "]", 100_000), "line 1");
    refused(nested("{\"root\":", "}", 100_000), "line 1");
    // What nobody asks for is skipped, however deep.
    let unknown = format!("{{\"unknown\": {}}}", nested("[", "]", 100_000));
    assert!(parse::<Spec>(Path::new("/c"), unknown.as_bytes()).is_ok());
}

#[test]
fn truncated_or_damaged_anywhere() {
    let whole = GOOD.as_bytes();
    for end in 0..whole.len() {
        refused(&whole[..end], "line 1");
    }
    for at in 0..whole.len() {
        for byte in [0u8, b'"', b'{', b'\\', 0x80, b'9'] {
            let mut damaged = whole.to_vec();
            damaged[at] = byte;
            // Whatever it is now, reading and checking it comes to an end.
            let _ = parse::<Spec>(Path::new("/c"), &damaged).map(|spec| Bundle::new("/", spec));
        }
    }
}

fn bundle(scratch: &Scratch, config: &[u8]) -> PathBuf {
    let dir = scratch.path().join("bundle");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.json"), config).unwrap();
    dir
}

#[test]
fn loads_from_disk() {
    let scratch = Scratch::new();
    let dir = bundle(&scratch, GOOD.as_bytes());
    let loaded = Bundle::load(&dir).unwrap();
    assert_eq!(loaded.dir(), dir);
    assert_eq!(loaded.rootfs(), dir.join("rootfs"));
    assert_eq!(&*loaded.json().unwrap(), GOOD.as_bytes());
    let same = Bundle::new(&dir, loaded.spec().clone()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Spec>(&same.json().unwrap()).unwrap(),
        *loaded.spec()
    );
}

#[test]
fn the_directory_becomes_absolute() {
    let scratch = Scratch::new();
    let dir = bundle(&scratch, GOOD.as_bytes());
    std::fs::create_dir_all(scratch.path().join("elsewhere/deep")).unwrap();
    symlink(scratch.path().join("elsewhere/deep"), dir.join("link")).unwrap();
    // Above the target of a link, not above the link.
    let error = Bundle::load(dir.join("link/../config-is-not-here")).unwrap_err();
    assert_eq!(error.code(), Code::NoConfig, "{error}");
    let loaded = Bundle::load(dir.join("link/../../bundle/.")).unwrap();
    assert_eq!(loaded.dir(), std::fs::canonicalize(&dir).unwrap());
    assert_eq!(Bundle::load("").unwrap_err().code(), Code::NoConfig);

    let spec = loaded.spec().clone();
    let relative = Bundle::new("some/./where", spec.clone()).unwrap();
    assert_eq!(
        relative.dir(),
        std::env::current_dir().unwrap().join("some/where")
    );
    let mut absolute = spec;
    absolute.root.as_mut().unwrap().path = "/elsewhere/./rootfs".into();
    assert_eq!(
        Bundle::new("/b", absolute).unwrap().rootfs(),
        Path::new("/elsewhere/rootfs")
    );
}

#[test]
fn empty_strings_are_absent() {
    let text = r#"{"process": {"args": ["a"], "cwd": "/", "apparmorProfile": "", "selinuxLabel": ""}, "root": {"path": "r"},
        "hostname": "", "mounts": [{"destination": "/a", "type": "", "source": "/b", "options": ["bind"]}],
        "linux": {"namespaces": [{"type": "ipc", "path": ""}], "cgroupsPath": "", "rootfsPropagation": ""}}"#;
    let scratch = Scratch::new();
    let loaded = Bundle::load(bundle(&scratch, text.as_bytes())).unwrap();
    let spec = loaded.spec();
    assert_eq!(spec.hostname, None);
    assert_eq!(spec.mounts[0].kind, None);
    assert_eq!(spec.linux.namespaces[0].path, None);
    assert_eq!(
        (&spec.linux.cgroups_path, &spec.linux.rootfs_propagation),
        (&None, &None)
    );
    let process = spec.process.as_ref().unwrap();
    assert_eq!(
        (&process.apparmor_profile, &process.selinux_label),
        (&None, &None)
    );
    assert_eq!(
        crate::bundle::stored_spec(Path::new("/c"), text.as_bytes()).unwrap(),
        *spec
    );
}

#[test]
fn what_is_no_configuration() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let config = dir.join("config.json");
    let error = Bundle::load(dir).unwrap_err();
    assert_eq!(error.code(), Code::NoConfig);
    assert_eq!(error.operand_str(), config.to_str());
    assert!(
        error
            .to_string()
            .to_lowercase()
            .contains("no such file or directory"),
        "{error}"
    );
    assert_eq!(
        Bundle::load(dir.join("absent")).unwrap_err().code(),
        Code::NoConfig
    );

    std::fs::create_dir(&config).unwrap();
    assert!(
        read_config(&config)
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
    std::fs::remove_dir(&config).unwrap();
    nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        read_config(&config)
            .unwrap_err()
            .to_string()
            .contains("not a regular file")
    );
    std::fs::remove_file(&config).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("loop", &config).unwrap();
    assert_eq!(
        read_config(&config).unwrap_err().raw_os_error(),
        Some(libc::ELOOP)
    );
}

#[test]
fn size_is_bounded() {
    let scratch = Scratch::new();
    let path = scratch.path().join("config.json");
    let file = std::fs::File::create(&path).unwrap();
    for (length, accepted) in [
        (MAX_CONFIG as u64, true),
        (MAX_CONFIG as u64 + 1, false),
        (64 << 20, false),
        (1 << 50, false),
    ] {
        // Sparse; the largest file system there is would not hold the last one otherwise.
        if file.set_len(length).is_err() {
            continue;
        }
        match read_config(&path) {
            Ok(bytes) => assert!(accepted && bytes.len() as u64 == length),
            Err(error) => {
                assert!(!accepted);
                assert_eq!(error.code(), Code::InvalidConfig);
                assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
            }
        }
    }
}
