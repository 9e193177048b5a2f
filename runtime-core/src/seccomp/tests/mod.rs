//! Compiled programs, run and compared with what profiles say.

mod naive;
mod order;
mod profiles;

use super::arch::{Abi, HOSTS, Host};
use super::interpreter::{Call, run, verify};
use super::profile::ALLOW;
use super::table::Row;
use super::*;

const X86_64: &Host = &HOSTS[0].1;
const ERRNO: u32 = 0x0005_0000;
const ENOSYS: u32 = ERRNO | 38;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;

/// A profile from its JSON.
fn parse(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"))
}

/// A profile from its default action, architectures and rules.
fn profile(default: &str, architectures: &[&str], rules: &[&str]) -> Seccomp {
    let architectures: Vec<_> = architectures
        .iter()
        .map(|name| format!("\"SCMP_ARCH_{name}\""))
        .collect();
    parse(&format!(
        r#"{{"defaultAction": "SCMP_ACT_{default}", "architectures": [{}], "syscalls": [{}]}}"#,
        architectures.join(","),
        rules.join(",")
    ))
}

/// A rule; `arguments` are like `0 EQ 5` or `1 MASKED_EQ 0xff 3`.
fn rule(names: &str, action: &str, arguments: &[&str]) -> String {
    let names: Vec<_> = names.split(' ').map(|name| format!("{name:?}")).collect();
    let (action, errno) = action
        .split_once(' ')
        .map_or((action, ""), |(action, errno)| (action, errno));
    let errno = if errno.is_empty() {
        String::new()
    } else {
        format!(r#","errnoRet":{errno}"#)
    };
    let arguments: Vec<_> = arguments.iter().map(|argument| render(argument)).collect();
    format!(
        r#"{{"names":[{}],"action":"SCMP_ACT_{action}"{errno},"args":[{}]}}"#,
        names.join(","),
        arguments.join(",")
    )
}

fn render(argument: &str) -> String {
    let mut fields = argument.split(' ');
    let mut next = || fields.next().unwrap_or("0");
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect("hexadecimal"),
        None => text.parse().expect("decimal"),
    };
    let (index, operator) = (next(), next());
    let (value, second) = (number(next()), number(next()));
    format!(r#"{{"index":{index},"op":"SCMP_CMP_{operator}","value":{value},"valueTwo":{second}}}"#)
}

/// A compiled profile on one machine.
struct Compiled {
    host: &'static Host,
    program: Vec<Instruction>,
}

impl Compiled {
    fn new(profile: &Seccomp, host: &'static Host) -> Compiled {
        let filter = compile_for(profile, host)
            .expect("a valid profile")
            .expect("a filter");
        verify(&filter.program);
        Compiled {
            host,
            program: filter.program,
        }
    }

    fn call(&self, architecture: u32, number: u32, arguments: &[u64]) -> (u32, usize) {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let big_endian = self.host.big_endian;
        run(
            &self.program,
            &Call {
                number,
                architecture,
                arguments: all,
                big_endian,
            },
        )
    }

    /// The verdict on a call by its name.
    fn verdict(&self, abi: &str, name: &str, arguments: &[u64]) -> u32 {
        let abi = abi_of(self.host, abi);
        let number = Row::of(name)
            .and_then(|row| row.number(abi.column))
            .expect("a call of this ABI");
        self.call(abi.audit, abi.base + number, arguments).0
    }
}

fn abi_of(host: &Host, name: &str) -> Abi {
    *host
        .archs
        .iter()
        .find(|abi| abi.name["SCMP_ARCH_".len()..] == *name)
        .expect("an ABI of this machine")
}
