mod linux;
mod process;

use serde_json::{Value, json};

use super::validate;
use crate::bundle::spec::Spec;
use crate::error::{Code, Result};

/// A configuration with every namespace, made by this program alone.
fn base() -> Value {
    let namespaces: Vec<Value> = ["pid", "network", "mount", "ipc", "uts", "cgroup"]
        .iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": namespaces},
    })
}

/// Puts `value` at a place like `process.rlimits[0].type`; `null` removes what is there.
fn set(config: &mut Value, place: &str, value: Value) {
    let mut at = config;
    for step in place.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, rest)) => (name, Some(rest.trim_end_matches(']').parse::<usize>().unwrap())),
            None => (step, None),
        };
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
        if let Some(index) = index {
            if !at.is_array() {
                *at = json!([]);
            }
            let list = at.as_array_mut().unwrap();
            while list.len() <= index {
                list.push(Value::Null);
            }
            at = &mut list[index];
        }
    }
    *at = value;
}

fn check(changes: &[(&str, Value)]) -> Result<()> {
    let mut config = base();
    for (place, value) in changes {
        set(&mut config, place, value.clone());
    }
    validate(&serde_json::from_value::<Spec>(config).unwrap())
}

#[track_caller]
fn accepted(changes: &[(&str, Value)]) {
    if let Err(error) = check(changes) {
        panic!("{changes:?} is refused: {error}");
    }
}

/// The refusal must name `place` and say `reason`.
#[track_caller]
fn refused(changes: &[(&str, Value)], place: &str, reason: &str) {
    let error = match check(changes) {
        Ok(()) => panic!("{changes:?} is accepted"),
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::InvalidConfig, "{error}");
    assert_eq!(error.operand_str(), Some(place), "{error}");
    let text = error.to_string();
    assert!(text.contains(reason), "{text} does not say {reason:?}");
    assert!(!text.contains('\n') && text.len() < 600, "{text}");
}

#[test]
fn the_base_is_accepted() {
    accepted(&[]);
}

#[test]
fn versions() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99", "1.0.0-rc5", ""] {
        accepted(&[("ociVersion", json!(version))]);
    }
    for version in [
        "0.5.0", "2.0.0", "1", "1.", "11.0", "v1.0.0", "1.x", "one", "-1.0",
    ] {
        refused(&[("ociVersion", json!(version))], "ociVersion", "must be 1.x");
    }
}

#[test]
fn root_and_process_are_needed() {
    refused(&[("root", Value::Null)], "root", "missing");
    refused(&[("root", json!({}))], "root.path", "missing or empty");
    refused(&[("root.path", json!(""))], "root.path", "missing or empty");
    refused(&[("root.path", json!("a\0b"))], "root.path", "NUL");
    refused(&[("process", Value::Null)], "process", "missing");
    accepted(&[("root.path", json!("/"))]);
}

#[test]
fn mounts() {
    let ids = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let good = json!({"destination": "/a", "type": "tmpfs"});
    for mount in [
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "relative", "type": "tmpfs"}),
        json!({"destination": "/a/../b", "type": "tmpfs"}),
        json!({"destination": "/a", "source": "/b", "options": ["rbind"]}),
        json!({"destination": "/a", "source": "b", "type": "bind"}),
        json!({"destination": "/a", "source": "b", "type": "bind", "uidMappings": ids, "gidMappings": ids}),
    ] {
        accepted(&[("mounts", json!([mount]))]);
    }
    for (mount, place, reason) in [
        (json!({"type": "tmpfs"}), "destination", "missing or empty"),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/a/..//./", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/../..", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": ".", "type": "tmpfs"}),
            "destination",
            "root of the container",
        ),
        (
            json!({"destination": "/a\0", "type": "tmpfs"}),
            "destination",
            "NUL",
        ),
        (json!({"destination": "/a"}), "type", "missing"),
        (json!({"destination": "/a", "type": "x\0"}), "type", "NUL"),
        (json!({"destination": "/a", "type": "bind"}), "source", "missing"),
        (
            json!({"destination": "/a", "options": ["ro", "bind"]}),
            "source",
            "missing",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "source": "\0"}),
            "source",
            "NUL",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["ro", "x\0"]}),
            "options[1]",
            "NUL",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "uidMappings": ids, "gidMappings": ids}),
            "uidMappings",
            "bind",
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "b", "uidMappings": ids}),
            "gidMappings",
            "empty",
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "b", "gidMappings": ids}),
            "uidMappings",
            "empty",
        ),
    ] {
        refused(
            &[("mounts", json!([good, mount]))],
            &format!("mounts[1].{place}"),
            reason,
        );
    }
}

#[test]
fn hooks() {
    for point in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let hooks = |value| [("hooks", json!({point: [value]}))];
        accepted(&hooks(
            json!({"path": "/bin/true", "args": ["true", "-x"], "env": ["A=b"], "timeout": 1}),
        ));
        for (value, place, reason) in [
            (json!({"path": "true"}), "path", "absolute"),
            (json!({}), "path", "missing or empty"),
            (json!({"path": "/a\0"}), "path", "NUL"),
            (json!({"path": "/a", "args": ["\0"]}), "args[0]", "NUL"),
            (json!({"path": "/a", "env": ["A=1", "\0"]}), "env[1]", "NUL"),
            (json!({"path": "/a", "timeout": 0}), "timeout", "greater than 0"),
            (json!({"path": "/a", "timeout": -1}), "timeout", "greater than 0"),
        ] {
            refused(&hooks(value), &format!("hooks.{point}[0].{place}"), reason);
        }
    }
}

#[test]
fn enormous_lists_are_no_burden() {
    let mounts: Vec<Value> = (0..100_000)
        .map(|n| json!({"destination": format!("/m{n}"), "type": "tmpfs"}))
        .collect();
    accepted(&[
        ("mounts", json!(mounts)),
        ("process.args", json!(vec!["a"; 100_000])),
    ]);
    let namespaces: Vec<Value> = (0..100_000).map(|_| json!({"type": "pid"})).collect();
    refused(
        &[("linux.namespaces", json!(namespaces))],
        "linux.namespaces[1].type",
        "twice",
    );
}
