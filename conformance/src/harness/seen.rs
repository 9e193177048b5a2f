//! Reading what the payload and the runtimes print.

use serde_json::Value;

use super::{Outcome, Stop};

/// The strings of a JSON list.
pub fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// The numbers of a JSON list.
pub fn numbers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_i64).collect())
        .unwrap_or_default()
}

/// The topmost mount at a path, from the fact `mounts`.
pub fn mount_at<'a>(seen: &'a Value, at: &str) -> Outcome<&'a Value> {
    let mounts = seen["mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    mounts.iter().rfind(|mount| mount["at"] == at).ok_or_else(|| {
        let all: Vec<&str> = mounts.iter().filter_map(|mount| mount["at"].as_str()).collect();
        Stop::Failed(format!("nothing is mounted at {at}; mounts: {all:?}"))
    })
}

/// Whether a mount has an option, its own or its file system's; `has` says which of both was meant.
pub fn has(mount: &Value, part: &str, option: &str) -> bool {
    strings(&mount[part]).contains(&option)
}

/// Which peer group a mount belongs to and which one it follows, as `shared`, `slave`, `private`, `unbindable`.
pub fn propagation(mount: &Value) -> &'static str {
    let tags = strings(&mount["propagation"]);
    let has = |prefix: &str| tags.iter().any(|tag| tag.starts_with(prefix));
    match (has("shared:"), has("master:"), has("unbindable")) {
        (true, _, _) => "shared",
        (_, true, _) => "slave",
        (_, _, true) => "unbindable",
        _ => "private",
    }
}

/// Signals in a mask of /proc/PID/status, as `kill` counts them.
pub fn signal_set(status: &str, key: &str) -> Outcome<Vec<u32>> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let mask = mask.ok_or_else(|| Stop::Failed(format!("no {key} in {status:?}")))?;
    Ok((0..64)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| bit + 1)
        .collect())
}

/// One field of /proc/PID/status.
pub fn status_field(pid: i32, key: &str) -> Outcome<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    value
        .map(|value| value.trim().to_string())
        .ok_or_else(|| Stop::Failed(format!("no {key} of {pid}")))
}
