//! The command line's contract with runc's callers: log records, versions, lists, usage errors.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::host::which;
use crate::harness::seen::strings;
use crate::harness::{Ctx, Outcome, Test};
use crate::{check, check_eq, skip};

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    // Log.
    Test::new("cli/json-log-has-one-record-an-error", |ctx| {
        let records = failed_log(ctx, &["--log-format", "json"], 1)?;
        let record: Value = serde_json::from_str(records.trim())?;
        check_eq!(record["level"], "error", "level");
        check!(
            record["msg"].as_str().is_some_and(|msg| !msg.is_empty()),
            "msg {}",
            record["msg"]
        );
        let time = record["time"].as_str().unwrap_or_default();
        check!(time.len() >= 20 && time.as_bytes()[10] == b'T', "time {time:?}");
        Ok(())
    }),
    Test::new("cli/json-log-is-appended-to", |ctx| {
        let records = failed_log(ctx, &["--log-format=json"], 3)?;
        check_eq!(records.lines().count(), 3, "records after three failures");
        for record in records.lines() {
            let record: Value = serde_json::from_str(record)?;
            check_eq!(record["level"], "error", "level");
        }
        Ok(())
    }),
    Test::new("cli/text-log", |ctx| {
        let records = failed_log(ctx, &[], 1)?;
        check_eq!(records.lines().count(), 1, "lines");
        check!(
            records.contains("level=error") && records.contains("msg="),
            "{records:?}"
        );
        Ok(())
    })
    .peers(&[("crun", "has a format of its own")]),
    Test::new("cli/error-is-on-stderr-too", |ctx| {
        let log = ctx.dir.join("log");
        let output = ctx
            .bare()
            .arg("--root")
            .arg(&ctx.root)
            .arg("--log")
            .arg(&log)
            .args(["state", "nobody"])
            .output()?
            .exits(1)?;
        check_eq!(
            output.stderr.trim_end().lines().count(),
            1,
            "lines of {:?}",
            output.stderr
        );
        check_eq!(output.stdout, "", "stdout");
        Ok(())
    }),
    Test::new("cli/log-is-empty-without-errors", |ctx| {
        let log = ctx.dir.join("log");
        let id = ctx.fresh_id();
        let mut bundle = ctx.bundle()?;
        bundle
            .args(&["true"])
            .set("/linux/cgroupsPath", json!(format!("/{id}")));
        bundle.write()?;
        let cmd = ctx
            .bare()
            .arg("--root")
            .arg(&ctx.root)
            .arg("--log")
            .arg(&log)
            .args(["--log-format", "json"]);
        cmd.args(["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .ok()?
            .silent()?;
        check_eq!(fs::read_to_string(&log).unwrap_or_default(), "", "the log");
        Ok(())
    }),
    Test::new("cli/log-format-unknown", |ctx| {
        let output = ctx.rt(["--log-format", "flavour", "list"]).output()?.fails()?;
        check!(output.combined().contains("flavour"), "{:?}", output.combined());
        Ok(())
    }),
    Test::new("cli/json-log-of-a-failing-create-is-what-podman-parses", |ctx| {
        // One object in the whole file.
        let mut bundle = ctx.bundle()?;
        bundle.args(&["nosuchtool"]);
        let container = ctx.container(&bundle)?;
        let log = ctx.dir.join("oci-log");
        let cmd = ctx
            .bare()
            .arg("--root")
            .arg(&ctx.root)
            .arg("--log")
            .arg(&log)
            .args(["--log-format=json", "create", "--bundle"]);
        cmd.arg(&container.bundle.dir)
            .arg(&container.id)
            .output()?
            .fails()?;
        let record: Value = serde_json::from_slice(&fs::read(&log)?)?;
        let message = record["msg"].as_str().unwrap_or_default();
        check!(
            message.contains("executable file not found in $PATH"),
            "msg {message:?}"
        );
        Ok(())
    })
    .peers(&[("crun", "its words differ")]),
    // Versions.
    Test::new("cli/version", |ctx| version(ctx, "--version")),
    Test::new("cli/version-short", |ctx| version(ctx, "-v")),
    Test::new("cli/version-when-called-runc", |ctx| {
        let link = ctx.dir.join("runc");
        symlink(&ctx.runtime, &link)?;
        let output = ctx.command(&link).arg("--version").ok()?.silent()?;
        let first: Vec<&str> = output
            .stdout
            .lines()
            .next()
            .unwrap_or_default()
            .split(' ')
            .collect();
        check_eq!(first.len(), 3, "fields of {first:?}");
        check_eq!((first[0], first[1]), ("runc", "version"), "first fields");
        Ok(())
    })
    .peers(&[("crun", "stays crun")]),
    Test::new("cli/features", |ctx| {
        let output = ctx.bare().arg("features").ok()?.silent()?;
        let features = output.json()?;
        for version in ["ociVersionMin", "ociVersionMax"] {
            check!(
                features[version].as_str().is_some_and(|v| v.starts_with("1.")),
                "{version}: {}",
                features[version]
            );
        }
        let mut hooks = strings(&features["hooks"]);
        hooks.sort_unstable();
        let all = [
            "createContainer",
            "createRuntime",
            "poststart",
            "poststop",
            "prestart",
            "startContainer",
        ];
        check_eq!(hooks, all, "hooks");
        for option in ["rro", "bind", "rbind", "nosuid", "rprivate", "tmpcopyup"] {
            check!(
                strings(&features["mountOptions"]).contains(&option),
                "no mount option {option}"
            );
        }
        let linux = &features["linux"];
        for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
            check!(
                strings(&linux["namespaces"]).contains(&kind),
                "no namespace {kind}"
            );
        }
        check!(
            strings(&linux["capabilities"]).contains(&"CAP_SYS_ADMIN"),
            "capabilities"
        );
        check!(
            linux["cgroup"]["v1"] == true && linux["cgroup"]["v2"] == true,
            "cgroup {}",
            linux["cgroup"]
        );
        check!(
            strings(&linux["seccomp"]["actions"]).contains(&"SCMP_ACT_ERRNO"),
            "seccomp {}",
            linux["seccomp"]
        );
        check!(
            strings(&linux["seccomp"]["operators"]).contains(&"SCMP_CMP_MASKED_EQ"),
            "seccomp operators"
        );
        Ok(())
    })
    .peers(&[("crun", "1.8 does not know it")]),
    Test::new("cli/program-is-static-and-small", |ctx| {
        let program = fs::read(&ctx.runtime)?;
        check!(program.len() < 2 << 20, "{} bytes", program.len());
        check!(
            program_headers(&program).is_some_and(|kinds| !kinds.contains(&3)),
            "it needs an interpreter"
        );
        Ok(())
    })
    .peers(&[
        ("runc", "is larger, and needs libraries"),
        ("crun", "needs libraries"),
    ]),
    // Global options.
    Test::new("cli/repeated-globals-the-last-wins", |ctx| {
        let other = ctx.dir.join("other");
        let output = ctx
            .bare()
            .arg("--root")
            .arg(&other)
            .arg("--root")
            .arg(&ctx.root)
            .args(["list", "--format", "json"])
            .ok()?;
        check_eq!(output.stderr, "", "stderr");
        check!(!other.exists(), "the first state root was used");
        Ok(())
    }),
    Test::new("cli/root-with-equals-sign", |ctx| {
        let root = format!("--root={}", ctx.root.display());
        ctx.bare().arg(&root).args(["list"]).ok()?.silent().map(drop)
    }),
    Test::new("cli/root-is-made-and-private", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        let root = ctx.dir.join("deep/state");
        let cmd = |args: &[&str]| ctx.bare().arg("--root").arg(&root).args(args);
        cmd(&["create", "--bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()?;
        let mode = fs::metadata(&root)?.permissions().mode() & 0o7777;
        cmd(&["delete", "--force", &container.id]).ok()?;
        check_eq!(mode & 0o077, 0, "mode {mode:o} of the state root, for others");
        Ok(())
    }),
    Test::new("cli/root-slash-is-refused", |ctx| {
        ctx.bare()
            .args(["--root", "/", "list"])
            .output()?
            .fails()
            .map(drop)
    })
    .peers(&[("runc", "1.1 takes it"), ("crun", "takes it")]),
    Test::new("cli/root-relative-is-below-the-callers-directory", |ctx| {
        let container = ctx.container(&ctx.bundle()?)?;
        let cmd = |args: &[&str]| ctx.bare().cwd(&ctx.dir).args(["--root", "rel"]).args(args);
        cmd(&["create", "--bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()?;
        check!(
            ctx.dir.join("rel").join(&container.id).exists(),
            "no state below the caller's directory"
        );
        cmd(&["delete", "--force", &container.id]).ok().map(drop)
    })
    .peers(&[("crun", "goes to the bundle first")]),
    Test::new("cli/debug-still-works", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.args(&["true"]);
        let container = ctx.container(&bundle)?;
        let log = ctx.dir.join("log");
        let cmd = ctx
            .bare()
            .arg("--root")
            .arg(&ctx.root)
            .arg("--debug")
            .arg("--log")
            .arg(&log);
        cmd.args(["run", "--bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()
            .map(drop)
    }),
    // Lists.
    Test::new("cli/list-json", |ctx| {
        let container = ctx.sleeper()?;
        let list = ctx.rt(["list", "--format", "json"]).ok()?.silent()?.json()?;
        let entry = &list[0];
        check_eq!(entry["id"], json!(container.id), "id");
        check_eq!(entry["status"], "running", "status");
        check_eq!(entry["bundle"], json!(container.bundle.dir), "bundle");
        check_eq!(entry["pid"], json!(container.pid()?), "pid");
        check!(
            entry["created"].as_str().is_some_and(|time| time.contains('T')),
            "created {}",
            entry["created"]
        );
        Ok(())
    }),
    Test::new("cli/list-table", |ctx| {
        let container = ctx.sleeper()?;
        let table = ctx.rt(["list"]).ok()?.silent()?.stdout;
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        check_eq!(
            head,
            ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
            "head"
        );
        let row: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        check_eq!(row.first(), Some(&container.id.as_str()), "id in {row:?}");
        check_eq!(row.get(2), Some(&"running"), "status in {row:?}");
        Ok(())
    })
    .peers(&[("crun", "its columns are fewer")]),
    Test::new("cli/list-quiet", |ctx| {
        let container = ctx.sleeper()?;
        check_eq!(
            ctx.rt(["list", "--quiet"]).ok()?.stdout,
            format!("{}\n", container.id),
            "output"
        );
        check_eq!(
            ctx.rt(["list", "-q"]).ok()?.stdout,
            format!("{}\n", container.id),
            "output of the short flag"
        );
        Ok(())
    }),
    Test::new("cli/list-of-nothing", |ctx| {
        let root = ctx.dir.join("never-made");
        let list = ctx
            .bare()
            .arg("--root")
            .arg(&root)
            .args(["list", "--format", "json"])
            .ok()?
            .silent()?;
        let list = list.json()?;
        check!(list == Value::Null || list == json!([]), "{list}");
        check_eq!(
            ctx.bare()
                .arg("--root")
                .arg(&root)
                .args(["list", "-q"])
                .ok()?
                .stdout,
            "",
            "quiet list"
        );
        Ok(())
    }),
    Test::new("cli/list-goes-on-past-a-broken-state", |ctx| {
        let container = ctx.sleeper()?;
        let broken = ctx.root.join("broken");
        fs::create_dir(&broken)?;
        for file in ["state.json", "status"] {
            fs::write(broken.join(file), "{ rubbish")?;
        }
        let list = ctx.rt(["list", "-q"]).output()?;
        fs::remove_dir_all(&broken)?;
        check!(
            list.stdout.lines().any(|line| line == container.id),
            "{:?}",
            list.stdout
        );
        Ok(())
    }),
    Test::new("cli/state-is-silent-on-stderr", |ctx| {
        let container = ctx.sleeper()?;
        let output = container.rt("state", &[]).ok()?;
        serde_json::from_str::<Value>(&output.combined())?;
        Ok(())
    }),
    Test::new("cli/state-keys-are-in-runcs-order", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle
            .set("/annotations", json!({"a": "b"}))
            .args(&["sleep", "1000"]);
        let container = ctx.started(&bundle)?;
        let state = container.state()?;
        let keys: Vec<&String> = state
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
            .collect();
        let want = [
            "ociVersion",
            "id",
            "pid",
            "status",
            "bundle",
            "rootfs",
            "created",
            "annotations",
            "owner",
        ];
        check_eq!(keys, want, "keys");
        Ok(())
    })
    .peers(&[("crun", "has another order and a key more")]),
    // spec.
    Test::new("cli/spec-equals-runcs", spec_equals).peers(&[("crun", "its own differs")]),
    Test::new("cli/spec-does-not-overwrite", |ctx| {
        let dir = ctx.fresh_dir("spec")?;
        fs::write(dir.join("config.json"), "precious")?;
        ctx.bare()
            .args(["spec", "--bundle"])
            .arg(&dir)
            .output()?
            .fails()?;
        check_eq!(
            fs::read_to_string(dir.join("config.json"))?,
            "precious",
            "the file"
        );
        Ok(())
    }),
    Test::new("cli/spec-in-the-current-directory", |ctx| {
        let dir = ctx.fresh_dir("spec")?;
        ctx.bare().arg("spec").cwd(&dir).ok()?.silent()?;
        check!(dir.join("config.json").exists(), "no config.json");
        Ok(())
    }),
    Test::new("cli/spec-rootless", |ctx| {
        let dir = ctx.fresh_dir("spec")?;
        ctx.bare()
            .args(["spec", "--rootless", "--bundle"])
            .arg(&dir)
            .ok()?
            .silent()?;
        let spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        let kinds: Vec<&str> = spec["linux"]["namespaces"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|n| n["type"].as_str())
            .collect();
        check!(
            kinds.contains(&"user") && !kinds.contains(&"network"),
            "namespaces {kinds:?}"
        );
        check_eq!(
            spec["linux"]["uidMappings"].as_array().map(Vec::len),
            Some(1),
            "mappings"
        );
        check!(
            spec["linux"].get("resources").is_none_or(Value::is_null),
            "resources {}",
            spec["linux"]["resources"]
        );
        Ok(())
    })
    .peers(&[("crun", "1.8 keeps the network namespace")]),
    // Usage.
    Test::new("cli/unknown-command", |ctx| {
        ctx.bare().arg("flavour").output()?.fails().map(drop)
    }),
    Test::new("cli/unknown-option", |ctx| {
        ctx.rt(["list", "--flavour"]).output()?.fails().map(drop)
    }),
    Test::new("cli/too-few-arguments", |ctx| {
        for verb in [
            "create", "start", "state", "kill", "delete", "pause", "resume", "ps", "update", "exec",
        ] {
            ctx.rt([verb]).output()?.fails()?;
        }
        Ok(())
    }),
    Test::new("cli/too-many-arguments", |ctx| {
        for verb in ["start", "state", "delete", "pause", "resume"] {
            ctx.rt([verb, "a", "b"]).output()?.fails()?;
        }
        Ok(())
    }),
    Test::new("cli/help", |ctx| {
        for args in [
            &["--help"][..],
            &["-h"],
            &["create", "--help"],
            &["run", "--help"],
            &["exec", "--help"],
        ] {
            let output = ctx.bare().args(args).ok()?;
            check!(
                output.stdout.contains("bundle")
                    || output.stdout.contains("create")
                    || output.stdout.contains("tty"),
                "{args:?} says {:?}",
                output.stdout
            );
        }
        Ok(())
    })
    .peers(&[("crun", "has no -h")]),
    Test::new("cli/help-of-all-verbs", |ctx| {
        let verbs = [
            "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "resume", "run",
            "spec", "start", "state", "update",
        ];
        for verb in verbs {
            let output = ctx.bare().args([verb, "--help"]).ok()?;
            check!(!output.stdout.is_empty(), "{verb} --help says nothing on stdout");
        }
        Ok(())
    })
    .peers(&[("crun", "has no events and, in 1.8, no features")]),
    Test::new("cli/single-dash-long-options", |ctx| {
        // As go-runc writes some.
        let container = ctx.container(&ctx.bundle()?)?;
        ctx.rt(["create", "-bundle"])
            .arg(&container.bundle.dir)
            .arg(&container.id)
            .ok()
            .map(drop)
    })
    .peers(&[("crun", "reads them as short ones")]),
    Test::new("cli/checkpoint-and-restore-can-be-probed", |ctx| {
        // Podman asks in this way whether a runtime has them at all.

        let output = ctx
            .bare()
            .args(["restore", "--lsm-mount-context"])
            .output()?
            .fails()?;
        check!(
            output.combined().contains("flag needs an argument"),
            "{:?}",
            output.combined()
        );
        Ok(())
    })
    .peers(&[("crun", "is built without them")]),
    Test::new("cli/explain-does-nothing-but-tell", |ctx| {
        let mut bundle = ctx.bundle()?;
        bundle.script("touch /tmp/ran");
        bundle.write()?;
        let text = ctx.rt(["explain"]).arg(&bundle.dir).ok()?.silent()?.stdout;
        for word in ["/proc", "/dev/pts", "pivot", "exec"] {
            check!(
                text.to_lowercase().contains(word),
                "the plan does not mention {word}: {text}"
            );
        }
        let json = ctx
            .rt(["explain", "--format", "json"])
            .arg(&bundle.dir)
            .ok()?
            .json()?;
        let steps = json.as_array().map_or(0, Vec::len);
        check!(
            steps >= text.lines().count() / 2 && steps > 10,
            "{steps} steps in JSON, {} lines",
            text.lines().count()
        );
        check!(!bundle.rootfs().join("tmp/ran").exists(), "it ran the program");
        check!(!Path::new(&ctx.root).join("explain").exists(), "it made state");
        Ok(())
    })
    .peers(&[
        ("runc", "a feature of oci-rt's own"),
        ("crun", "a feature of oci-rt's own"),
    ]),
];

/// The types of the program headers of an ELF file of 64 bits; 3 is that of an interpreter.
fn program_headers(file: &[u8]) -> Option<Vec<u32>> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = file.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count)
        .map(|index| Some(number(start + index * size, 4)? as u32))
        .collect()
}

/// The log after a number of failing calls with these global options.
fn failed_log(ctx: &Ctx, options: &[&str], times: usize) -> Outcome<String> {
    let log = ctx.dir.join("log");
    for _ in 0..times {
        let cmd = ctx
            .bare()
            .arg("--root")
            .arg(&ctx.root)
            .arg("--log")
            .arg(&log)
            .args(options);
        cmd.args(["state", "nobody"]).output()?.exits(1)?;
    }
    Ok(fs::read_to_string(&log)?)
}

fn version(ctx: &Ctx, flag: &str) -> Outcome {
    let output = ctx.bare().arg(flag).ok()?.silent()?;
    let mut lines = output.stdout.lines();
    let first = lines.next().unwrap_or_default();
    check!(first.contains("version "), "first line {first:?}");
    let rest: Vec<&str> = lines.collect();
    for start in ["commit: ", "spec: "] {
        check!(
            rest.iter().any(|line| line.starts_with(start)),
            "no line {start:?} in {rest:?}"
        );
    }
    let spec = rest
        .iter()
        .find_map(|line| line.strip_prefix("spec: "))
        .unwrap_or_default();
    check!(spec.starts_with("1."), "spec {spec:?}");
    Ok(())
}

/// The same config as runc's own, save for the version of the specification.
fn spec_equals(ctx: &Ctx) -> Outcome {
    let Some(runc) = which("runc") else {
        skip!("runc is not installed")
    };
    let read = |dir: &Path| -> Outcome<Value> {
        let mut spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        spec["ociVersion"] = Value::Null;
        Ok(spec)
    };
    let (ours, theirs) = (ctx.fresh_dir("ours")?, ctx.fresh_dir("theirs")?);
    ctx.bare().args(["spec", "--bundle"]).arg(&ours).ok()?;
    ctx.command(runc).args(["spec", "--bundle"]).arg(&theirs).ok()?;
    let (mut ours, mut theirs) = (read(&ours)?, read(&theirs)?);
    // Newer runc's add a cgroup namespace on version 2, and no longer set ambient capabilities.
    for spec in [&mut ours, &mut theirs] {
        spec["process"]["capabilities"]["ambient"] = Value::Null;
        spec["process"]["capabilities"]["inheritable"] = Value::Null;
        if let Some(list) = spec["linux"]["namespaces"].as_array_mut() {
            list.retain(|namespace| namespace["type"] != "cgroup");
        }
    }
    for key in ["process", "root", "hostname", "mounts", "linux"] {
        check_eq!(ours[key], theirs[key], "{key}");
    }
    Ok(())
}
