//! Things to try from inside, and what came of them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde_json::{Map, Value, json};

use crate::sys;

/// Runs a verb; null means that there is nothing to print.
pub fn act(verb: &str, args: &[&str]) -> Result<Value, String> {
    match (verb, args) {
        ("stat", paths) => Ok(each(paths, stat)),
        ("read", paths) => Ok(each(paths, |path| match fs::read_to_string(path) {
            Ok(text) => json!({"text": text}),
            Err(error) => errno(&error),
        })),
        ("open", [mode, paths @ ..]) => Ok(each(paths, |path| open(mode, path))),
        ("write", [path, text]) => Ok(write(path, text)),
        ("list", paths) => Ok(each(paths, list)),
        ("create", paths) => Ok(each(paths, |path| outcome(File::create(path)))),
        ("mkdir", paths) => Ok(each(paths, |path| outcome(fs::create_dir(path)))),
        ("mknod", [kind, major, minor, path]) => make_node(kind, major, minor, path),
        ("syscall", numbers) => syscall(numbers),
        ("fork", [count]) => fork(parse(count)?),
        ("memory", [mebibytes]) => {
            let bytes = parse::<usize>(mebibytes)? << 20;
            Ok(json!({"touched": sys::touch_memory(bytes)}))
        }
        ("spin", [milliseconds]) => spin(parse(milliseconds)?),
        ("exit", [code]) => std::process::exit(parse(code)?),
        ("raise", [signal]) => {
            let pid = i64::from(std::process::id());
            sys::syscall(libc::SYS_kill, [pid, parse(signal)?, 0, 0, 0, 0]).map_err(|e| format!("{e:?}"))?;
            Ok(Value::Null)
        }
        ("copy", []) => std::io::copy(&mut std::io::stdin(), &mut std::io::stdout())
            .map(|_| Value::Null)
            .map_err(|e| e.to_string()),
        _ => Err(format!("no verb {verb:?} with {} arguments", args.len())),
    }
}

fn parse<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

fn each(paths: &[&str], fact: impl Fn(&str) -> Value) -> Value {
    Value::Object(
        paths
            .iter()
            .map(|path| (path.to_string(), fact(path)))
            .collect::<Map<_, _>>(),
    )
}

fn errno(error: &std::io::Error) -> Value {
    let name = error
        .raw_os_error()
        .map_or(error.to_string(), |raw| format!("{:?}", Errno::from_raw(raw)));
    json!({"errno": name})
}

fn outcome<T>(result: std::io::Result<T>) -> Value {
    match result {
        Ok(_) => json!("ok"),
        Err(error) => errno(&error)["errno"].clone(),
    }
}

fn stat(path: &str) -> Value {
    let data = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) => return errno(&error),
    };
    let kind = data.file_type();
    let kinds = [
        (kind.is_dir(), "dir"),
        (kind.is_file(), "file"),
        (kind.is_symlink(), "link"),
        (kind.is_char_device(), "char"),
        (kind.is_block_device(), "block"),
        (kind.is_fifo(), "fifo"),
        (kind.is_socket(), "socket"),
    ];
    let kind = kinds.iter().find(|(is, _)| *is).map_or("?", |(_, name)| name);
    let mut found = json!({
        "kind": kind, "mode": format!("{:o}", data.mode() & 0o7777), "uid": data.uid(), "gid": data.gid(),
        "size": data.size()
    });
    if kind == "link" {
        found["target"] = json!(
            fs::read_link(path)
                .map(|target| target.display().to_string())
                .ok()
        );
    }
    if kind == "char" || kind == "block" {
        found["device"] = json!([major(data.rdev()), minor(data.rdev())]);
    }
    found
}

fn open(mode: &str, path: &str) -> Value {
    let (read, write) = (mode.contains('r'), mode.contains('w'));
    // Opening a fifo or a terminal must not wait.
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    outcome(options.read(read).write(write).open(path))
}

fn write(path: &str, text: &str) -> Value {
    let result = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    json!({ path: outcome(result) })
}

fn list(path: &str) -> Value {
    match fs::read_dir(path) {
        Ok(entries) => {
            let names = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.collect();
            names.sort();
            json!(names)
        }
        Err(error) => errno(&error),
    }
}

fn make_node(kind: &str, major: &str, minor: &str, path: &str) -> Result<Value, String> {
    let flag = if kind == "b" {
        SFlag::S_IFBLK
    } else {
        SFlag::S_IFCHR
    };
    let device = makedev(parse(major)?, parse(minor)?);
    Ok(match mknod(path, flag, Mode::from_bits_truncate(0o666), device) {
        Ok(()) => json!({path: "ok"}),
        Err(errno) => json!({path: format!("{errno:?}")}),
    })
}

fn syscall(numbers: &[&str]) -> Result<Value, String> {
    let mut args = [0i64; 6];
    let number: i64 = parse(numbers.first().ok_or("syscall needs a number")?)?;
    for (slot, text) in args.iter_mut().zip(&numbers[1..]) {
        *slot = parse(text)?;
    }
    Ok(match sys::syscall(number, args) {
        Ok(value) => json!({"returned": value}),
        Err(errno) => json!({"errno": format!("{errno:?}"), "number": errno as i32}),
    })
}

fn fork(count: usize) -> Result<Value, String> {
    let mut children = Vec::new();
    let mut failure = Value::Null;
    for _ in 0..count {
        match sys::fork_sleeper() {
            Ok(pid) => children.push(pid),
            Err(errno) => {
                failure = json!(format!("{errno:?}"));
                break;
            }
        }
    }
    for pid in &children {
        sys::syscall(libc::SYS_kill, [i64::from(*pid), 9, 0, 0, 0, 0]).map_err(|e| format!("{e:?}"))?;
    }
    Ok(json!({"forked": children.len(), "errno": failure}))
}

/// Burns the processor for a while by the clock, and says how much processor time that took.
fn spin(milliseconds: u64) -> Result<Value, String> {
    let begin = Instant::now();
    let mut count = 0u64;
    while begin.elapsed() < Duration::from_millis(milliseconds) {
        for _ in 0..1000 {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let usage = usage.map_err(|e| format!("{e:?}"))?;
    let time = usage.user_time() + usage.system_time();
    let milliseconds = time.tv_sec() * 1000 + time.tv_usec() / 1000;
    Ok(json!({"cpu_ms": milliseconds, "wall_ms": begin.elapsed().as_millis() as u64}))
}
