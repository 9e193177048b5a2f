//! The least that runs a program in a container: `cargo run -p runtime-core --example run -- ROOTFS PROGRAM [ARGUMENT ...]`.
//! Needs root.

use std::env;
use std::process::ExitCode;

use runtime_core::spec::{Linux, Mount, Namespace, NamespaceType, Process, Root, Spec};
use runtime_core::{Bundle, CreateOptions, Result, Runtime};

/// A container of its own namespaces, with /proc and /dev.
fn spec(rootfs: &str, args: Vec<String>) -> Spec {
    let mount = |destination: &str, kind: &str| Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        ..Mount::default()
    };
    let kinds = [
        NamespaceType::Pid,
        NamespaceType::Mount,
        NamespaceType::Network,
        NamespaceType::Ipc,
        NamespaceType::Uts,
    ];
    Spec {
        oci_version: "1.3.0".into(),
        root: Some(Root {
            path: rootfs.into(),
            readonly: true,
        }),
        hostname: Some("example".into()),
        mounts: vec![mount("/proc", "proc"), mount("/dev", "tmpfs")],
        process: Some(Process {
            args,
            cwd: "/".into(),
            no_new_privileges: true,
            ..Process::default()
        }),
        linux: Linux {
            namespaces: kinds.map(|kind| Namespace { kind, path: None }).to_vec(),
            ..Linux::default()
        },
        ..Spec::default()
    }
}

fn run(rootfs: &str, args: Vec<String>) -> Result<u8> {
    let runtime = Runtime::new("/run/oci-rt-example")?;
    let bundle = Bundle::new("/", spec(rootfs, args))?;
    let id = format!("example-{}", std::process::id());
    let running = runtime.create(&id, &bundle, CreateOptions::default())?.start()?;
    let status = running.wait()?;
    running.container().delete()?;
    Ok(status.code().map_or(128, |code| code as u8))
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (Some(rootfs), args) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        eprintln!("usage: run ROOTFS PROGRAM [ARGUMENT ...]");
        return ExitCode::from(2);
    };
    match run(&rootfs, args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(125)
        }
    }
}
