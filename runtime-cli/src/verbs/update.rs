//! `update`: changes the limits of a container.

use runtime_core::spec::{BlockIo, Cpu, Memory, Pids, Resources};
use runtime_core::{Code, Error, Result};

use crate::args::{Arity, Flag, FlagsEnd, Matches};
use crate::command::{Call, Command, Failure, invalid};
use crate::{input, units};

/// The command.
pub const COMMAND: Command = Command {
    name: "update",
    about: "change the limits of a container",
    usage: "<container-id>",
    details: "Sizes may have a unit, as in 64M or 1g; -1 is no limit. Device rules are never touched.",
    flags: &[
        Flag::text(
            "resources",
            "file with the limits as JSON, like linux.resources in config.json, or - for stdin;\n\
             the other flags are ignored then",
        )
        .short("r"),
        Flag::number("blkio-weight", "weight for block I/O, 10 to 1000"),
        Flag::text("cpu-period", "length of a CPU period in microseconds"),
        Flag::text("cpu-quota", "CPU time in a period, in microseconds"),
        Flag::text("cpu-burst", "CPU time that may be saved up, in microseconds"),
        Flag::text("cpu-share", "weight for CPU time"),
        Flag::text("cpu-rt-period", "length of a real-time period in microseconds"),
        Flag::text(
            "cpu-rt-runtime",
            "real-time CPU time in a period, in microseconds",
        ),
        Flag::text("cpu-idle", "1 to run only on idle CPUs, 0 not to"),
        Flag::text("cpuset-cpus", "CPUs to use, as in 0-3,7"),
        Flag::text("cpuset-mems", "memory nodes to use"),
        Flag::text("kernel-memory", "ignored").hidden(),
        Flag::text("kernel-memory-tcp", "ignored").hidden(),
        Flag::text("memory", "memory limit"),
        Flag::text("memory-reservation", "memory that is kept under pressure"),
        Flag::text("memory-swap", "limit of memory and swap together"),
        Flag::number("pids-limit", "number of tasks"),
        Flag::text("l3-cache-schema", "Intel RDT: L3 cache line of schemata"),
        Flag::text("mem-bw-schema", "Intel RDT: memory bandwidth line of schemata"),
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run,
};

fn run(call: &Call) -> Result<u8> {
    let matches = call.matches;
    let container = call.container()?;
    let mut resources = match matches.path("resources") {
        Some(path) => input::json(&path)?,
        None => from_flags(matches)?,
    };
    for (flag, reason) in [
        ("l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
        (
            "mem-bw-schema",
            "Intel RDT/MBA: memory bandwidth schema is not enabled",
        ),
    ] {
        if matches.text(flag).is_some() {
            return Err(Error::new(Code::Unsupported, reason));
        }
    }
    // Whoever lifts the limit of memory does not want that of memory and swap to stay.
    if let Some(memory) = &mut resources.memory
        && memory.limit == Some(-1)
    {
        memory.swap.get_or_insert(-1);
    }
    container.update(&resources)?;
    Ok(0)
}

fn from_flags(matches: &Matches) -> Result<Resources> {
    let cpu = Cpu {
        shares: number(matches, "cpu-share")?,
        quota: number(matches, "cpu-quota")?,
        burst: number(matches, "cpu-burst")?,
        period: number(matches, "cpu-period")?,
        realtime_runtime: number(matches, "cpu-rt-runtime")?,
        realtime_period: number(matches, "cpu-rt-period")?,
        cpus: matches.string("cpuset-cpus"),
        mems: matches.string("cpuset-mems"),
        idle: number(matches, "cpu-idle")?,
    };
    let memory = Memory {
        limit: size(matches, "memory")?,
        reservation: size(matches, "memory-reservation")?,
        swap: size(matches, "memory-swap")?,
        ..Memory::default()
    };
    for flag in ["kernel-memory", "kernel-memory-tcp"] {
        if matches.text(flag).is_some() {
            tracing::warn!("--{flag} is ignored");
        }
    }
    let weight = match matches.number("blkio-weight") {
        None | Some(0) => None,
        Some(weight) => Some(u16::try_from(weight).map_err(|_| wrong("blkio-weight", &weight.to_string()))?),
    };
    Ok(Resources {
        cpu: some(cpu),
        memory: some(memory),
        block_io: some(BlockIo {
            weight,
            ..BlockIo::default()
        }),
        pids: matches
            .number("pids-limit")
            .map(|limit| Pids { limit: Some(limit) }),
        ..Resources::default()
    })
}

/// Leaves out what says nothing.
fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn number<T: std::str::FromStr>(matches: &Matches, flag: &str) -> Result<Option<T>> {
    matches
        .string(flag)
        .map(|text| text.parse().map_err(|_| wrong(flag, &text)))
        .transpose()
}

fn size(matches: &Matches, flag: &str) -> Result<Option<i64>> {
    matches
        .string(flag)
        .map(|text| units::bytes(&text).ok_or_else(|| wrong(flag, &text)))
        .transpose()
}

fn wrong(flag: &str, value: &str) -> Error {
    invalid(format!("invalid value for {flag}: {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Resources> {
        from_flags(&crate::cli::matches(&COMMAND, line).unwrap())
    }

    #[test]
    fn flags_say_only_what_is_given() {
        assert_eq!(read(&["id"]).unwrap(), Resources::default());
        let resources = read(&["--memory", "64M", "--memory-swap=-1", "--pids-limit", "20", "id"]).unwrap();
        let memory = Memory {
            limit: Some(64 << 20),
            swap: Some(-1),
            ..Memory::default()
        };
        let pids = Pids { limit: Some(20) };
        assert_eq!(
            resources,
            Resources {
                memory: Some(memory),
                pids: Some(pids),
                ..Resources::default()
            }
        );
    }

    #[test]
    fn every_flag_has_its_field() {
        let flags = [
            ("blkio-weight", "100"),
            ("cpu-period", "1"),
            ("cpu-quota", "-2"),
            ("cpu-burst", "3"),
            ("cpu-share", "4"),
            ("cpu-rt-period", "5"),
            ("cpu-rt-runtime", "6"),
            ("cpu-idle", "1"),
            ("cpuset-cpus", "0-1"),
            ("cpuset-mems", "0"),
            ("memory", "1k"),
            ("memory-reservation", "2k"),
            ("memory-swap", "3k"),
            ("pids-limit", "7"),
        ];
        let line: Vec<String> = flags
            .iter()
            .map(|(name, value)| format!("--{name}={value}"))
            .collect();
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let json = serde_json::to_value(read(&line).unwrap()).unwrap();
        let expected = serde_json::json!({
            "blockIO": {"weight": 100},
            "cpu": {"period": 1, "quota": -2, "burst": 3, "shares": 4, "realtimePeriod": 5, "realtimeRuntime": 6,
                    "idle": 1, "cpus": "0-1", "mems": "0"},
            "memory": {"limit": 1024, "reservation": 2048, "swap": 3072},
            "pids": {"limit": 7},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn wrong_values() {
        for line in [
            ["--memory", "x"],
            ["--cpu-share", "-1"],
            ["--cpu-period", "1M"],
            ["--blkio-weight", "65536"],
        ] {
            assert!(
                read(&line)
                    .unwrap_err()
                    .to_string()
                    .starts_with("invalid value for"),
                "{line:?}"
            );
        }
    }
}
