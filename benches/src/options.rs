//! The command line.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
Usage: cargo run --release -p benches -- [OPTION...]

Compares oci-rt with runc, crun and the bare system calls, alternating, on this machine.

  --only MEASURE      only measures whose name starts so (may be repeated; --list shows the names)
  --runs N            rounds of the short measures (default 60; the slow ones take a fraction)
  --quick             a third of everything, for a first look
  --json FILE         also write all samples and figures as JSON
  --runtime PATH      the oci-rt to measure (default: built now, release profile)
  --peer NAME=PATH    another runtime with the command line of runc (may be repeated)
  --without NAME      leave a contender out (may be repeated)
  --list              the measures
";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Prefixes of measures; none means all.
    pub only: Vec<String>,
    /// Rounds of the short measures.
    pub runs: Option<usize>,
    /// A third of everything.
    pub quick: bool,
    /// Where to write the JSON.
    pub json: Option<PathBuf>,
    /// The oci-rt to measure.
    pub runtime: Option<PathBuf>,
    /// Further contenders.
    pub peers: Vec<(String, PathBuf)>,
    /// Contenders to leave out.
    pub without: Vec<String>,
    /// Only list the measures.
    pub list: bool,
    /// Only show the usage.
    pub help: bool,
}

impl Options {
    /// Reads the arguments, without the program's name.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
                _ => (arg, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("{name} needs a value"))
            };
            match name.as_str() {
                "--only" => options.only.push(value()?),
                "--runs" => options.runs = Some(positive(&value()?)?),
                "--quick" => options.quick = true,
                "--json" => options.json = Some(value()?.into()),
                "--runtime" => options.runtime = Some(value()?.into()),
                "--peer" => options.peers.push(peer(&value()?)?),
                "--without" => options.without.push(value()?),
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        Ok(options)
    }

    /// Rounds of a measure that takes `full` of them by default.
    pub fn rounds(&self, full: usize) -> usize {
        let wanted = self
            .runs
            .map_or(full, |runs| (full * runs).div_ceil(DEFAULT_RUNS));
        if self.quick {
            wanted.div_ceil(3).max(3)
        } else {
            wanted.max(1)
        }
    }

    /// Whether the measure was asked for.
    pub fn wants(&self, measure: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|prefix| measure.starts_with(prefix.as_str()))
    }
}

/// What the numbers of rounds in the measures refer to.
pub const DEFAULT_RUNS: usize = 60;

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("not a positive number: {text}"))
}

fn peer(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err(format!("--peer wants NAME=PATH, not {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|&arg| arg.to_owned()))
    }

    #[test]
    fn values_stand_behind_a_space_or_an_equals_sign() {
        for args in [
            &["--runs", "7", "--peer", "new=/x/crun"][..],
            &["--runs=7", "--peer=new=/x/crun"],
        ] {
            let options = parse(args).unwrap();
            assert_eq!(options.runs, Some(7));
            assert_eq!(options.peers, [("new".to_owned(), PathBuf::from("/x/crun"))]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for args in [
            &["--runs"][..],
            &["--runs", "0"],
            &["--peer", "crun"],
            &["--fast"],
            &["extra"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn rounds_scale() {
        assert_eq!(parse(&[]).unwrap().rounds(20), 20);
        assert_eq!(parse(&["--runs", "120"]).unwrap().rounds(20), 40);
        assert_eq!(parse(&["--quick"]).unwrap().rounds(30), 10);
    }
}
