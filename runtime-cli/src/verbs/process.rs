//! The process that `exec` runs: from a file, or the container's own one with changes from the command line.

use std::path::PathBuf;

use runtime_core::spec::{Capabilities, Process};
use runtime_core::{Code, Error, Result};

use crate::args::Matches;
use crate::command::invalid;
use crate::input;

/// Reads the process that the command line describes. `own` says what the container itself runs.
pub fn described(matches: &Matches, own: impl FnOnce() -> Process) -> Result<Process> {
    let process = match matches.path("process") {
        None => changed(matches, own())?,
        Some(path) => {
            let process: Process = input::json(&path)?;
            let env = if process.env.is_empty() {
                own().env
            } else {
                process.env
            };
            Process { env, ..process }
        }
    };
    if process.args.is_empty() {
        return Err(invalid("process args cannot be empty"));
    }
    if !process.cwd.is_absolute() {
        let reason = if process.cwd.as_os_str().is_empty() {
            "is empty"
        } else {
            "is not absolute"
        };
        return Err(invalid("working directory of the process")
            .operand(&process.cwd)
            .reason(reason));
    }
    Ok(process)
}

fn changed(matches: &Matches, mut process: Process) -> Result<Process> {
    process.args = matches.arguments[1..]
        .iter()
        .map(|word| utf8(word, "argument"))
        .collect::<Result<_>>()?;
    // Habit from programs that need it; no program is called so.
    if process.args.first().is_some_and(|word| word == "--") {
        process.args.remove(0);
    }
    process.terminal = matches.switch("tty");
    process.console_size = None;
    if let Some(cwd) = matches.path("cwd") {
        process.cwd = cwd;
    }
    for variable in matches.texts("env") {
        process.env.push(utf8(variable, "environment variable")?);
    }
    if let Some(profile) = matches.string("apparmor") {
        process.apparmor_profile = Some(profile);
    }
    if let Some(label) = matches.string("process-label") {
        process.selinux_label = Some(label);
    }
    if matches.switch("no-new-privs") {
        process.no_new_privileges = true;
    }
    add_capabilities(&mut process, matches)?;
    set_user(&mut process, matches)?;
    Ok(process)
}

fn add_capabilities(process: &mut Process, matches: &Matches) -> Result<()> {
    for name in matches.texts("cap") {
        let name = utf8(name, "capability")?;
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        // A capability can be ambient only where it is inheritable, so without any of those it is neither.
        let ambient = if sets.inheritable.is_empty() {
            None
        } else {
            Some(&mut sets.ambient)
        };
        for set in [
            Some(&mut sets.bounding),
            Some(&mut sets.effective),
            Some(&mut sets.permitted),
            ambient,
        ]
        .into_iter()
        .flatten()
        {
            if !set.contains(&name) {
                set.push(name.clone());
            }
        }
    }
    Ok(())
}

fn set_user(process: &mut Process, matches: &Matches) -> Result<()> {
    if let Some(user) = matches.string("user") {
        let (uid, gid) = match user.split_once(':') {
            None => (user.as_str(), None),
            Some((uid, gid)) => (uid, Some(gid)),
        };
        process.user.uid = id(uid, "user")?;
        if let Some(gid) = gid {
            process.user.gid = id(gid, "group")?;
        }
        // Another user has nothing to do with the groups of the first.
        process.user.additional_gids.clear();
    }
    for group in matches.numbers("additional-gids") {
        process
            .user
            .additional_gids
            .push(id(&group.to_string(), "group")?);
    }
    Ok(())
}

/// A user or group id: plain digits, and not the number that stands for none.
fn id(text: &str, kind: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(id) if digits && id != u32::MAX => Ok(id),
        _ => {
            Err(invalid(format!("invalid {kind} id {text:?}")).hint("names are not looked up, give a number"))
        }
    }
}

fn utf8(word: &std::ffi::OsStr, kind: &str) -> Result<String> {
    match word.to_str() {
        Some(word) => Ok(word.to_owned()),
        None => Err(Error::new(Code::InvalidConfig, kind)
            .operand(PathBuf::from(word))
            .reason("is not valid UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_core::spec::User;
    use std::path::Path;

    fn own() -> Process {
        Process {
            terminal: true,
            user: User {
                uid: 5,
                gid: 6,
                additional_gids: vec![7],
                ..User::default()
            },
            args: vec!["init".into()],
            env: vec!["A=1".into()],
            cwd: "/work".into(),
            capabilities: Some(Capabilities {
                effective: vec!["CAP_KILL".into()],
                ..Capabilities::default()
            }),
            ..Process::default()
        }
    }

    fn read(line: &[&str]) -> Result<Process> {
        described(
            &crate::cli::matches(&super::super::exec::COMMAND, line).unwrap(),
            own,
        )
    }

    #[test]
    fn what_is_not_said_is_as_in_the_container() {
        let process = read(&["id", "ls", "-l", "--", "-h"]).unwrap();
        assert_eq!(process.args, ["ls", "-l", "--", "-h"]);
        assert!(!process.terminal);
        assert_eq!(
            Process {
                args: own().args,
                terminal: true,
                ..process
            },
            own()
        );
        assert_eq!(read(&["id", "--", "ls"]).unwrap().args, ["ls"]);
    }

    #[test]
    fn changes() {
        let line = [
            "-t",
            "--cwd",
            "/x",
            "-e",
            "A=2",
            "-e",
            "B=3",
            "-c",
            "CAP_CHOWN",
            "--no-new-privs",
            "id",
            "sh",
        ];
        let process = read(&line).unwrap();
        assert!(process.terminal && process.no_new_privileges);
        assert_eq!(process.cwd, Path::new("/x"));
        assert_eq!(process.env, ["A=1", "A=2", "B=3"]);
        let sets = process.capabilities.unwrap();
        assert_eq!(sets.effective, ["CAP_KILL", "CAP_CHOWN"]);
        assert_eq!(
            (sets.bounding, sets.permitted),
            (vec!["CAP_CHOWN".into()], vec!["CAP_CHOWN".into()])
        );
        assert!(sets.ambient.is_empty() && sets.inheritable.is_empty());
    }

    #[test]
    fn users_and_groups() {
        let user = |line: &[&str]| read(&[line, &["id", "sh"]].concat()).map(|process| process.user);
        let expected = |uid, gid, groups: &[u32]| User {
            uid,
            gid,
            additional_gids: groups.to_vec(),
            ..User::default()
        };
        assert_eq!(user(&["-g", "8"]).unwrap(), expected(5, 6, &[7, 8]));
        assert_eq!(user(&["-u", "10"]).unwrap(), expected(10, 6, &[]));
        assert_eq!(
            user(&["-u", "10:20", "-g", "8", "-g", "9"]).unwrap(),
            expected(10, 20, &[8, 9])
        );
        for wrong in [
            "root",
            "",
            ":",
            "1:",
            ":1",
            "1:x",
            "+1",
            "-1",
            " 1",
            "1:2:3",
            "4294967295",
            "4294967296",
            "0x1",
        ] {
            let refused = user(&[&format!("--user={wrong}")]);
            // Without a value the flag counts as not given, as with all texts.
            assert_eq!(refused.is_err(), !wrong.is_empty(), "{wrong:?} {refused:?}");
        }
        assert!(user(&["-g", "-1"]).is_err());
    }

    #[test]
    fn nothing_to_run() {
        assert_eq!(
            read(&["id"]).unwrap_err().to_string(),
            "process args cannot be empty"
        );
        assert!(
            read(&["--cwd", "x", "id", "sh"])
                .unwrap_err()
                .to_string()
                .contains("\"x\": is not absolute")
        );
    }

    #[test]
    fn process_files() {
        let path = std::env::temp_dir().join(format!("oci-rt-process-{}", std::process::id()));
        let from = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&["--process", path.to_str().unwrap(), "id"])
        };
        let process = from(r#"{"args": ["sh"], "cwd": "/", "user": {"uid": 1}, "unknown": 1}"#).unwrap();
        assert_eq!(
            (process.user.uid, process.user.gid, process.capabilities),
            (1, 0, None)
        );
        assert_eq!(process.env, ["A=1"]);
        assert_eq!(
            from(r#"{"args": ["sh"], "cwd": "/", "env": ["X=1"]}"#)
                .unwrap()
                .env,
            ["X=1"]
        );
        assert!(
            from("{\n\"args\": 5}")
                .unwrap_err()
                .to_string()
                .contains("line 2, column 9: args:")
        );
        assert!(
            from(r#"{"args": ["sh"]}"#)
                .unwrap_err()
                .to_string()
                .contains("is empty")
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            read(&["-p", path.to_str().unwrap(), "id"])
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ENOENT)
        );
    }
}
